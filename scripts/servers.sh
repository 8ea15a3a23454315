#!/usr/bin/env bash
# Daemons of both kinds for the scripts that measure: to be sourced, by footprint and bench.
#
# Before: root (of the sources), bin (our programs), heap, java_dir, version, and work (a directory for what they write).
# After `start KIND DAEMON …`, with KIND ferrocket or java and DAEMON namesrv or broker: pids[KIND-DAEMON] is its process,
# boots[KIND-DAEMON] the times to its boot line in microseconds, $work/KIND-DAEMON its directory.

declare -A pids=() pipes=() boots=()
# Put before the command of whatever is started, such as taskset -c 0.
pin=()

fail() {
    echo "${0##*/}: $*" >&2
    exit 1
}

# Ends the daemon of that name, if it runs: SIGTERM, and SIGKILL when that does not help within 30 s.
stop() {
    local pid=${pids[$1]:-} out=${pipes[$1]:-} waited=0
    [ -n "$pid" ] || return 0
    unset "pids[$1]" "pipes[$1]"
    kill "$pid" 2>/dev/null || true
    while kill -0 "$pid" 2>/dev/null; do
        waited=$((waited + 1))
        [ "$waited" -lt 300 ] || kill -9 "$pid"
        sleep 0.1
    done
    [ -z "$out" ] || exec {out}<&-
}

clean_up() {
    local name
    for name in "${!pids[@]}"; do stop "$name"; done
    rm -rf "$work"
}

# A port P such that nobody listens on P-2 (the broker's VIP port), P and P+1 (its HA port).
free_port() {
    local port near taken
    for _ in $(seq 100); do
        port=$((12002 + RANDOM % 2000 * 4))
        taken=
        for near in $((port - 2)) "$port" $((port + 1)); do
            if (exec 3<>"/dev/tcp/127.0.0.1/$near") 2>/dev/null; then taken=1; fi
        done
        [ -n "$taken" ] || { echo "$port"; return; }
    done
    fail "no free port found"
}

java_command() {
    command=(env ROCKETMQ_HOME="$2" java "-Xms$heap" "-Xmx$heap" -XX:+UseG1GC
        --add-exports=java.base/jdk.internal.ref=ALL-UNNAMED --add-opens=java.base/java.nio=ALL-UNNAMED
        --add-opens=java.base/sun.nio.ch=ALL-UNNAMED --add-opens=java.base/java.lang=ALL-UNNAMED
        "-Drocketmq.home.dir=$2" "-Duser.home=$2" "-Dlog.file=$2/server.log" -Dtls.server.mode=disabled
        "-Drmq.logback.configurationFile=$root/tests/java/conf/logback-5.xml"
        -cp "$java_dir/$version/*" "org.apache.rocketmq.$1")
}

# start KIND DAEMON PORT NAMESRV [KEY=VALUE…]: starts it on an empty directory and waits for its boot line.
start() {
    local kind=$1 daemon=$2 port=$3 namesrv=$4 line begin said=
    local name=$kind-$daemon dir=$work/$kind-$daemon
    shift 4
    rm -rf "$dir"
    mkdir "$dir"
    if [ "$daemon" = namesrv ]; then
        printf 'listenPort=%s\nrocketmqHome=%s\nkvConfigPath=%s\n' "$port" "$dir" "$dir/kvConfig.json" >"$dir/conf"
    else
        printf '%s\n' "brokerName=${0##*/}" brokerIP1=127.0.0.1 "listenPort=$port" "namesrvAddr=$namesrv" \
            "storePathRootDir=$dir/store" "storePathCommitLog=$dir/store/commitlog" "$@" >"$dir/conf"
    fi
    case $name in
    java-namesrv) java_command namesrv.NamesrvStartup "$dir" ;;
    java-broker) java_command broker.BrokerStartup "$dir" ;;
    *) command=(env ROCKETMQ_HOME="$dir" HOME="$dir" "$bin/mq$daemon") ;;
    esac
    begin=${EPOCHREALTIME//[!0-9]/}
    # The pipe stays open for the daemon's whole life; it inherits no other pipe.
    exec {out}< <(
        for out in "${pipes[@]}"; do exec {out}<&-; done
        cd "$dir" && exec "${pin[@]}" "${command[@]}" -c "$dir/conf" 2>"$dir/err"
    )
    pids[$name]=$!
    pipes[$name]=$out
    while IFS= read -r -t 120 line <&"$out"; do
        if [[ $line == *"boot success"* ]]; then
            boots[$name]+="$((${EPOCHREALTIME//[!0-9]/} - begin)) "
            # Or a daemon with much to say would stand still when the pipe is full.
            cat <&"$out" >>"$dir/out" &
            return
        fi
        said+=$line$'\n'
    done
    fail "$name does not start: $said$(tail -n 5 "$dir/err")"
}
