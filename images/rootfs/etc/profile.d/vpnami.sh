# vpnami: what a person makes on a gateway is hers and her group's to read. (sudo
# has 022: packages are for all; see sudoers.d/vpnami.)
if [ "$(id -u)" -ne 0 ]; then
	umask 027
fi
# No core dumps; and a shell that was left at its prompt ends by itself. What runs
# in it is not cut off.
ulimit -c 0
if [ -n "${BASH_VERSION-}" ] && [ -z "${TMOUT-}" ]; then
	declare -xr TMOUT=600
fi
