#!/bin/sh
# runbroker.sh, runserver.sh and tools.sh: [JVM flags] CLASS [arguments], as scripts around RocketMQ call them. The class names
# the program; JVM flags join JAVA_OPT_EXT, where the programs look for them.

case $0 in
*/*) bin=$(dirname -- "$0") ;;
*) bin=. ; [ -e "./$0" ] || bin=$(dirname -- "$(command -v -- "$0")") ;;
esac
script=$(basename -- "$0")

while [ $# -gt 0 ]; do
    case $1 in
    -cp | -classpath | --class-path)
        shift
        [ $# -eq 0 ] || shift
        ;;
    -*)
        JAVA_OPT_EXT="${JAVA_OPT_EXT:+$JAVA_OPT_EXT }$1"
        export JAVA_OPT_EXT
        shift
        ;;
    *) break ;;
    esac
done

if [ $# -eq 0 ]; then
    echo "Usage: $script [JVM flags] CLASS [arguments]" >&2
    exit 1
fi
class=$1
shift
case $class in
org.apache.rocketmq.namesrv.NamesrvStartup) exec sh "$bin/mqnamesrv" "$@" ;;
org.apache.rocketmq.broker.BrokerStartup) exec sh "$bin/mqbroker" "$@" ;;
org.apache.rocketmq.tools.command.MQAdminStartup) exec sh "$bin/mqadmin" "$@" ;;
org.apache.rocketmq.example.*) exec sh "$bin/mqadmin" --class "$class" "$@" ;;
*)
    echo "$script: $class is not part of this distribution; it has NamesrvStartup, BrokerStartup, MQAdminStartup and the quick start" >&2
    exit 1
    ;;
esac
