#!/bin/sh
# Starts the program of its own name (mqnamesrv, mqbroker, mqadmin, mqstore, mqbench) from lib/ of this distribution.
# Works as ./bin/mqbroker, `sh mqbroker` in bin/, through symbolic links, and from any directory.

self=$0
case $self in
*/*) ;;
*) [ -e "./$self" ] || self=$(command -v -- "$self") ;;
esac
while [ -h "$self" ]; do
    link=$(ls -ld -- "$self")
    link=${link#* -> }
    case $link in
    /*) self=$link ;;
    *) self=$(dirname -- "$self")/$link ;;
    esac
done
here=$(CDPATH='' cd -- "$(dirname -- "$self")/.." && pwd -P) || exit 1
program=$(basename -- "$self")

if [ -z "$ROCKETMQ_HOME" ]; then
    ROCKETMQ_HOME=$here
fi
export ROCKETMQ_HOME

# A ROCKETMQ_HOME from elsewhere (an installation of the Java programs, say) keeps its meaning for conf/; the programs are ours.
if [ -x "$ROCKETMQ_HOME/lib/$program" ]; then
    exec "$ROCKETMQ_HOME/lib/$program" "$@"
fi
if [ -x "$here/lib/$program" ]; then
    exec "$here/lib/$program" "$@"
fi
echo "$program: there is no program $ROCKETMQ_HOME/lib/$program; set ROCKETMQ_HOME to the installation directory, or unset it" >&2
exit 254
