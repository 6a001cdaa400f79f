package matrix

// Emoji is one of the 64 that a short authentication string is made of.
type Emoji struct {
	Symbol string // what other clients show
	Name   string // in English
}

// ShortCode is what two people compare: seven emoji, or three numbers, which
// say the same (client-server API, "SAS method: emoji" and "decimal").
type ShortCode struct {
	Emoji   [7]Emoji
	Numbers [3]int // each from 1000 to 9191
}

// shortCodeSize is how many bytes a ShortCode is made from.
const shortCodeSize = 6

// newShortCode reads the code from the bytes that both sides have derived.
func newShortCode(b [shortCodeSize]byte) (c ShortCode) {
	var bits uint64
	for _, x := range b {
		bits = bits<<8 | uint64(x)
	}
	for i := range c.Emoji {
		c.Emoji[i] = allEmoji[bits>>(48-6*(i+1))&0x3f]
	}
	for i := range c.Numbers {
		c.Numbers[i] = int(bits>>(48-13*(i+1))&0x1fff) + 1000
	}
	return c
}

// allEmoji are the emoji by their numbers.
var allEmoji = [64]Emoji{
	{"🐶", "Dog"}, {"🐱", "Cat"}, {"🦁", "Lion"}, {"🐎", "Horse"},
	{"🦄", "Unicorn"}, {"🐷", "Pig"}, {"🐘", "Elephant"}, {"🐰", "Rabbit"},
	{"🐼", "Panda"}, {"🐓", "Rooster"}, {"🐧", "Penguin"}, {"🐢", "Turtle"},
	{"🐟", "Fish"}, {"🐙", "Octopus"}, {"🦋", "Butterfly"}, {"🌷", "Flower"},
	{"🌳", "Tree"}, {"🌵", "Cactus"}, {"🍄", "Mushroom"}, {"🌏", "Globe"},
	{"🌙", "Moon"}, {"☁\uFE0F", "Cloud"}, {"🔥", "Fire"}, {"🍌", "Banana"},
	{"🍎", "Apple"}, {"🍓", "Strawberry"}, {"🌽", "Corn"}, {"🍕", "Pizza"},
	{"🎂", "Cake"}, {"❤\uFE0F", "Heart"}, {"😀", "Smiley"}, {"🤖", "Robot"},
	{"🎩", "Hat"}, {"👓", "Glasses"}, {"🔧", "Spanner"}, {"🎅", "Santa"},
	{"👍", "Thumbs Up"}, {"☂\uFE0F", "Umbrella"}, {"⌛", "Hourglass"}, {"⏰", "Clock"},
	{"🎁", "Gift"}, {"💡", "Light Bulb"}, {"📕", "Book"}, {"✏\uFE0F", "Pencil"},
	{"📎", "Paperclip"}, {"✂\uFE0F", "Scissors"}, {"🔒", "Lock"}, {"🔑", "Key"},
	{"🔨", "Hammer"}, {"☎\uFE0F", "Telephone"}, {"🏁", "Flag"}, {"🚂", "Train"},
	{"🚲", "Bicycle"}, {"✈\uFE0F", "Aeroplane"}, {"🚀", "Rocket"}, {"🏆", "Trophy"},
	{"⚽", "Ball"}, {"🎸", "Guitar"}, {"🎺", "Trumpet"}, {"🔔", "Bell"},
	{"⚓", "Anchor"}, {"🎧", "Headphones"}, {"📁", "Folder"}, {"📌", "Pin"},
}
