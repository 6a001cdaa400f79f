# Mounts as root of a container: with processes and mounts of its own.
# $1 is the program, $2 the state directory, $3 the mount point, $4 a room.
set -e
"$1" mount --state "$2" "$3" > "$2/out" &
for i in {1..600}; do
	grep -q ^mounted "$2/out" && break
	kill -0 $!
	sleep 0.1
done
cp /etc/passwd "$3/$4/"
kill -TERM $!
wait $!
! grep " $3 " /proc/self/mountinfo
