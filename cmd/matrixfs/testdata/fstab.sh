# Mounts with mount(8) from an /etc/fstab, in a world with an /etc and an /sbin
# of its own, as the user $1 and without any environment. $2 holds etc, sbin,
# and the mount points; $3 is a room, $4 the state directory.
set -e
uid=$1 dir=$2 room=$3 state=$4
mount --bind "$dir/sbin" "$(readlink -f /sbin)"
mount --bind "$dir/etc" /etc

as() {
	local who=$1
	shift
	setpriv --reuid "$who" --regid "$who" --clear-groups env -i LC_ALL=C "$@"
}

# What mount(8) says of a bad line is ours, and so is its exit status.
fails() {
	local point=$1 status=$2 text=$3 out code=0
	out=$(as "$uid" /bin/mount "$dir/$point" 2>&1) || code=$?
	if [ "$code" != "$status" ] || [[ $out != *"$text"* ]]; then
		echo "$point: status $code, want $status; it says $out, want $text" >&2
		exit 1
	fi
}

# Unmounts, and waits for the end of the program.
unmount() {
	local pid
	pid=$(as "$uid" /usr/sbin/matrixfs status --json --state "$state" | sed -n 's/^ *"pid": \([0-9]*\).*/\1/p')
	as "$uid" /bin/umount "$1"
	for i in {1..600}; do
		kill -0 "$pid" 2> /dev/null || return 0
		sleep 0.1
	done
	echo "the program has not ended" >&2
	exit 1
}

fails ro 1 'the option ro is refused'
fails colour 1 'the option colour is not known'
fails value 1 'must be written lifetime=VALUE'
fails lifetime 1 'lifetime must be between'
fails stateless 32 'not logged in'

# For all users.
if [ "$uid" != 0 ]; then
	fails all 32 'let root add the line user_allow_other'
	echo user_allow_other >> /etc/fuse.conf
fi
as "$uid" /bin/mount "$dir/all" 2> "$dir/warning" || { cat "$dir/warning" >&2; exit 1; }
grep -q 'warning: --allow-other' "$dir/warning"
as 1234 /bin/ls "$dir/all/$room" > /dev/null
unmount "$dir/all"

# As people do it.
as "$uid" /bin/mount "$dir/matrix"
findmnt -t fuse.matrixfs "$dir/matrix" > /dev/null
! as 1234 /bin/ls "$dir/matrix" 2> /dev/null
as "$uid" /bin/cp /etc/passwd "$dir/matrix/$room/"
unmount "$dir/matrix"
! grep "$dir/" /proc/self/mountinfo | grep fuse
