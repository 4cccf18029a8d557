#!/usr/bin/env bash
# Measures the CPU time of the example gateway per request, beside nginx as a proxy, and prints a table.
#
#   benches/gateway.sh            five rounds of 4 s per proxy, about two minutes after the build
#   benches/gateway.sh 9 6        nine rounds of 6 s
#   GATEWAY=path benches/gateway.sh   measures this program instead of building one
#
# A second table has the CPU time of a request that a limit refuses, as a ratio of a served one in the same round. nginx
# with a fixed answer shows about how much of that any server takes to read a request and to send an answer.
#
# CPU time of the process, and not throughput: it depends less on what else the machine does. The proxies are measured
# in turn, round after round, and ratios are taken within a round. Each proxy has core 0 for itself. wrk and the
# upstream, which is nginx with a small fixed answer, have core 1. Wherever the machine is busy, CLIENT_CORE=0 puts all of
# them on one core, which spares the proxies the wake-ups of another core and most of the noise. The tables replace the
# text between the lines "<!-- begin: gateway -->" and "<!-- end: gateway -->" in RESULTS.md, if they are there.
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=${1:-5}
seconds=${2:-4}
connections=32
client_core=${CLIENT_CORE:-1}

for program in nginx wrk taskset curl; do
    command -v "$program" >/dev/null || { echo "$program is not installed" >&2; exit 1; }
done
if [ -z "${GATEWAY:-}" ]; then
    # The profile of the other benches: thin LTO, one codegen unit.
    cargo build --profile bench --example gateway
    GATEWAY=${CARGO_TARGET_DIR:-target}/release/examples/gateway
fi

dir=$(mktemp -d)
chmod 755 "$dir"
started=()
stop() {
    for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$dir"
}
trap stop EXIT

free_port() {
    local port
    while :; do
        port=$((20000 + RANDOM % 10000))
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
    done
}

# nginx NAME CORE SERVER: starts nginx with these lines in its `http` block.
nginx_with() {
    cat >"$dir/$1.conf" <<CONF
worker_processes 1;
daemon off;
pid $dir/$1.pid;
error_log $dir/$1.log;
events { worker_connections 1024; }
http {
    access_log off;
    keepalive_requests 1000000000;
    $3
}
CONF
    taskset -c "$2" nginx -c "$dir/$1.conf" 2>/dev/null &
    started+=($!)
    pids[$1]=$!
}

# gateway NAME LINES TOP: starts the gateway with these lines in its upstream, and these at the top.
gateway_with() {
    cat >"$dir/$1.toml" <<CONF
listen = "127.0.0.1:0"
${3:-}
routes = [{ prefix = "/", upstream = "service" }]
[upstreams.service]
url = "http://127.0.0.1:$upstream"
$2
CONF
    taskset -c 0 "$GATEWAY" --config "$dir/$1.toml" >"$dir/$1.out" 2>/dev/null &
    started+=($!)
    pids[$1]=$!
    until grep -qs 'http://' "$dir/$1.out"; do sleep 0.1; done
    ports[$1]=$(sed -nE 's#.*listening on http://[^ ]*:([0-9]+).*#\1#p' "$dir/$1.out")
}

# The CPU time of a process and its children so far, in ns.
cpu() {
    local pid
    for pid in "$1" $(cat /proc/"$1"/task/*/children); do cat /proc/"$pid"/task/*/schedstat; done |
        awk '{ sum += $1 } END { printf "%.0f", sum }'
}

# load PORT SECONDS REFUSED: the number of requests that were answered with 200, or all refused.
load() {
    local report requests refused
    report=$(taskset -c "$client_core" wrk -t1 -c"$connections" -d"$2"s "http://127.0.0.1:$1/")
    requests=$(awk '/requests in/ { print $1 }' <<<"$report")
    refused=$(awk '/Non-2xx/ { print $NF }' <<<"$report")
    if grep -q 'Socket errors' <<<"$report" || [ "${refused:-0}" != "$([ -n "${3:-}" ] && echo "$requests" || echo 0)" ]; then
        echo "$report" >&2
        exit 1
    fi
    echo "$requests"
}

declare -A pids ports
upstream=$(free_port)
nginx_with upstream "$client_core" "server { listen 127.0.0.1:$upstream; client_body_timeout 1h;
    location / { return 200 'hello from the upstream'; }
    # Waits for the end of the upload.
    location = /hold { proxy_pass http://127.0.0.1:$upstream/; } }"
ports[nginx]=$(free_port)
nginx_with nginx 0 "upstream service { server 127.0.0.1:$upstream; keepalive 64; keepalive_requests 1000000000; }
    server { listen 127.0.0.1:${ports[nginx]}; location / {
        proxy_pass http://service; proxy_http_version 1.1; proxy_set_header Connection '';
        proxy_set_header X-Forwarded-For \$proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Host \$host; proxy_set_header X-Forwarded-Proto \$scheme; } }"
ports[fixed]=$(free_port)
nginx_with fixed 0 "server { listen 127.0.0.1:${ports[fixed]}; location / { return 429 'Too many requests.'; } }"
gateway_with none 'protected = false'
gateway_with default ''
# A hedge and a fallback that are never needed. The hedge still measures each request.
gateway_with all "fallback = 'http://127.0.0.1:$upstream'
[upstreams.service.stack]
hedge = { min_delay = '1s', max_delay = '4s', start = '1s' }
circuit_breaker = { window = { time = '10s' }, slow_call = { over = '1s', rate = 0.8 }, consecutive_failures = 10 }"

# An upload that does not end has the only place, or the only token of the hour.
gateway_with full "body_read_timeout = '1h'
stack = { timeout = '1h', attempt_timeout = '1h' }" "concurrency_limit = { limit = 1, queue = { capacity = 0 } }"
gateway_with rate "body_read_timeout = '1h'
stack = { timeout = '1h', attempt_timeout = '1h' }" "rate_limit = { per = { calls = 1, period = '1h' } }"
gateway_with client "body_read_timeout = '1h'
stack = { timeout = '1h', attempt_timeout = '1h' }" "clients.rate_limit = { per = { calls = 1, period = '1h' } }"
for proxy in full rate client; do
    exec {upload}<>"/dev/tcp/127.0.0.1/${ports[$proxy]}"
    printf 'POST /hold HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n' >&"$upload"
done
sleep 0.5

proxies=(nginx none default all fixed full rate client)
declare -A refuses=([fixed]=yes [full]=yes [rate]=yes [client]=yes)
for proxy in "${proxies[@]}"; do
    if [ -z "${refuses[$proxy]:-}" ]; then
        curl --silent --fail --retry 20 --retry-connrefused --retry-delay 1 "http://127.0.0.1:${ports[$proxy]}/" >/dev/null
    fi
    load "${ports[$proxy]}" 1 "${refuses[$proxy]:-}" >/dev/null
done
for ((round = 1; round <= rounds; round++)); do
    for proxy in "${proxies[@]}"; do
        before=$(cpu "${pids[$proxy]}")
        requests=$(load "${ports[$proxy]}" "$seconds" "${refuses[$proxy]:-}")
        after=$(cpu "${pids[$proxy]}")
        echo "$round $proxy $requests $((after - before))" >>"$dir/samples"
    done
done

awk -v rounds="$rounds" '
    function median(list, n,    i, j, t) {
        for (i = 2; i <= n; i++) for (j = i; j > 1 && list[j] < list[j - 1]; j--) {
            t = list[j]; list[j] = list[j - 1]; list[j - 1] = t
        }
        return n % 2 ? list[(n + 1) / 2] : (list[n / 2] + list[n / 2 + 1]) / 2
    }
    # The median of the rounds, and the lowest and the highest of them.
    function cell(format, list,    middle) {
        middle = median(list, rounds)
        return sprintf(format " (" format " to " format ")", middle, list[1], list[rounds])
    }
    { us[$2, $1] = $4 / $3 / 1000 }
    END {
        print "| CPU time per request | µs | over no protection | requests per CPU second, ÷ nginx |"
        print "|---|---:|---:|---:|"
        split("nginx none default all", names)
        label["nginx"] = "nginx `proxy_pass`"; label["none"] = "gateway, no protection"
        label["default"] = "gateway, default protections"; label["all"] = "gateway, all protections"
        for (p = 1; p <= 4; p++) {
            name = names[p]
            for (r = 1; r <= rounds; r++) {
                own[r] = us[name, r]
                over[r] = 100 * (us[name, r] / us["none", r] - 1)
                beside[r] = us["nginx", r] / us[name, r]
            }
            print "| " label[name] " | " cell("%.1f", own) " | " \
                (p < 3 ? "" : cell("%.1f %%", over)) " | " (p < 2 ? "" : cell("%.2f", beside)) " |"
        }
        print ""
        print "| CPU time of a refused request | µs | ÷ a served one, default protections |"
        print "|---|---:|---:|"
        split("fixed full rate client", names)
        label["fixed"] = "nginx `return 429`"; label["full"] = "503 by `concurrency_limit`"; label["rate"] = "429 by `rate_limit`"
        label["client"] = "429 by `clients.rate_limit`"
        for (p = 1; p <= 4; p++) {
            name = names[p]
            for (r = 1; r <= rounds; r++) {
                own[r] = us[name, r]
                beside[r] = us[name, r] / us["default", r]
            }
            print "| " label[name] " | " cell("%.1f", own) " | " cell("%.2f", beside) " |"
        }
    }' "$dir/samples" >"$dir/table"
cat "$dir/table"

results=benches/RESULTS.md
if grep -q '<!-- begin: gateway -->' "$results" && grep -q '<!-- end: gateway -->' "$results"; then
    awk -v table="$dir/table" '
        /<!-- end: gateway -->/ { inside = 0 }
        !inside { print }
        /<!-- begin: gateway -->/ { inside = 1; while ((getline line < table) > 0) print line }
    ' "$results" >"$dir/results"
    cp "$dir/results" "$results"
fi
