package matrix

import (
	"fmt"
	"slices"

	"github.com/matrixfs/matrixfs/transfer"
)

// label gives the name to show for a room: its name, else its alias, else one
// made from the other members (client-server API, "Calculating the display
// name for a room"), else nothing.
func (r *room) label(self transfer.UserID) string {
	if r.name != "" {
		return r.name
	}
	if r.alias != "" {
		return r.alias
	}
	names := r.otherNames(self)
	switch n := len(names); n {
	case 0:
		return ""
	case 1:
		return cutLabel(names[0])
	case 2:
		return cutLabel(names[0] + " and " + names[1])
	default:
		return cutLabel(fmt.Sprintf("%s and %d others", names[0], n-1))
	}
}

// otherNames gives the names of everybody else in the room, or invited to it,
// in the order of their user ids. Two people of one name get their ids added.
func (r *room) otherNames(self transfer.UserID) []string {
	type person struct {
		id   transfer.UserID
		name string
	}
	var others []person
	count := make(map[string]int)
	for _, group := range []map[transfer.UserID]string{r.joined, r.invited} {
		for user, name := range group {
			if user == self {
				continue
			}
			if name == "" {
				name = string(user)
			}
			others = append(others, person{user, name})
			count[name]++
		}
	}
	slices.SortFunc(others, func(a, b person) int {
		switch {
		case a.id < b.id:
			return -1
		case a.id > b.id:
			return 1
		}
		return 0
	})
	names := make([]string, len(others))
	for i, p := range others {
		names[i] = p.name
		if count[p.name] > 1 && p.name != string(p.id) {
			names[i] = fmt.Sprintf("%s (%s)", p.name, p.id)
		}
	}
	return names
}
