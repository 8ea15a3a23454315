#!/bin/sh
# The entry of the image, as apache/rocketmq has it: the first argument, or NODE_ROLE, names the role; anything else is run as a
# command, so that `sh mqbroker …` works too.

role=${1:-${NODE_ROLE:-}}
case $role in
nameserver | namesrv)
    [ "${1:-}" = "$role" ] && shift
    exec ./mqnamesrv "$@"
    ;;
broker)
    [ "${1:-}" = "$role" ] && shift
    exec ./mqbroker "$@"
    ;;
controller | proxy)
    echo "this image has no $role yet; roles: nameserver, broker" >&2
    exit 1
    ;;
'')
    echo "Usage: docker run IMAGE nameserver|broker|COMMAND [arguments], or set NODE_ROLE" >&2
    exit 1
    ;;
*) exec "$@" ;;
esac
