#!/usr/bin/env bash
# The official Gateway API conformance suite against gwproxy, without a cluster.
#
#   proxy/conformance/run.sh [options] [-- flags of the suite]
#
#   RUN=HTTPRouteWeight run.sh   one test, or those that an expression matches (RUN='TLSRoute.*');
#                                their features need not be declared as supported
#   --release                    a release build of gwproxy (default: debug)
#   --every-feature              test every feature, whatever the GatewayClass says it supports
#   --quick                      give up on a condition after 10 s, not after minutes
#   --write                      keep the report and its table in docs/conformance
#   --keep                       keep the working folder with all logs
#   --server KUBECONFIG          gwproxy controller against that API server, which has the Gateway
#                                API's CRDs and no nodes; all addresses are in a network namespace
#                                of its own, so this needs root, iproute2 and kubectl
#
# GWPROXY=PATH takes a gwproxy that is built already. Gateways listen on ports 53, 80 and 443 of
# loopback addresses, so this needs root, CAP_NET_BIND_SERVICE, or a
# net.ipv4.ip_unprivileged_port_start of 53 or less.
#
# Fails on a failed core test, and on anything that docs/conformance/report.yaml has and the new
# report has not.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)

build=debug write='' keep='' server=''
suite=(-cleanup-base-resources=false)
inside=()
# A condition that gwproxy sets at all, it sets within a second.
quick='MaxTimeToConsistency:10;GatewayMustHaveAddress:10;GatewayMustHaveCondition:10;GatewayStatusMustHaveListeners:10;GatewayListenersMustHaveConditions:10;ListenerSetMustHaveCondition:10;ListenerSetListenersMustHaveConditions:10;HTTPRouteMustNotHaveParents:10;HTTPRouteMustHaveCondition:10;TLSRouteMustHaveCondition:10;TCPRouteMustHaveCondition:10;UDPRouteMustHaveCondition:10;RouteMustHaveParents:10;LatestObservedGenerationSet:10;DefaultTestTimeout:15;NamespacesMustBeReady:60'
while [ $# -gt 0 ]; do
    case $1 in
    --release) build=release ;;
    --every-feature) suite+=(-gateway-features) ;;
    --quick) suite+=(-timeout-config-overrides "$quick") ;;
    --write) write=yes ;;
    --keep) keep=yes ;;
    --server) server=$(realpath "$2"); shift ;;
    --) shift; suite+=("$@"); break ;;
    *) sed -n '2,/^set /p' "$0" | sed '$d; s/^# \{0,1\}//' >&2; exit 2 ;;
    esac
    shift
done

say() { printf 'conformance: %s\n' "$*" >&2; }
fail() { say "$*"; exit 2; }
command -v go >/dev/null || fail "go is not installed; the suite is a Go program (https://go.dev/dl)"

if [ "$(id -u)" != 0 ] && [ "$(sysctl -n net.ipv4.ip_unprivileged_port_start 2>/dev/null || echo 1024)" -gt 53 ]; then
    getcap "${GWPROXY:-$root/target/$build/gwproxy}" 2>/dev/null | grep -q cap_net_bind_service ||
        fail "ports 53, 80 and 443 are refused to this user: run as root, or build gwproxy and then" \
            "sudo setcap cap_net_bind_service=+ep target/$build/gwproxy, or sudo sysctl net.ipv4.ip_unprivileged_port_start=53"
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/gwproxy-conformance.XXXXXX")
pids=()
finish() {
    local code=$?
    if [ -n "$server" ] && [ -s "$work/kubeconfig" ]; then
        local delete=("${inside[@]}" kubectl --kubeconfig "$work/kubeconfig" delete --ignore-not-found --timeout 30s)
        "${delete[@]}" namespaces gateway-conformance-{infra,app-backend,web-backend} >/dev/null || true
        "${delete[@]}" gatewayclasses gateway-conformance >/dev/null || true
        "${delete[@]}" nodes standin >/dev/null || true
    fi
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
    if [ -n "${space:-}" ]; then ip netns del "$space" || true; fi
    if [ -n "$keep" ] || [ "$code" -gt 1 ]; then say "logs are in $work"; else rm -rf "$work"; fi
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT TERM

if [ -n "${GWPROXY:-}" ]; then
    gwproxy=$GWPROXY
else
    flags=()
    if [ "$build" = release ]; then flags+=(--release); fi
    say "building gwproxy ($build)"
    cargo build --quiet --manifest-path "$root/Cargo.toml" -p gwproxy "${flags[@]}"
    gwproxy=$(cargo metadata --manifest-path "$root/Cargo.toml" --no-deps --format-version 1 |
        sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/$build/gwproxy
fi
say "building the suite"
(cd "$here" && go build -o "$work/" sigs.k8s.io/gateway-api/conformance/echo-basic ./bridge ./standin ./report &&
    go test -c -o "$work/conformance.test" .)

# start NAME COMMAND...: in the background, its output in NAME.log
start() {
    local name=$1
    shift
    "$@" >"$work/$name.log" 2>&1 &
    pids+=($!)
}

# await NAME CONDITION...: until the condition holds, as long as the last one started runs
await() {
    local name=$1 pid=${pids[-1]}
    shift
    for _ in $(seq 300); do
        if "$@" >/dev/null 2>&1; then return; fi
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    cat "$work/$name.log" >&2
    fail "$name did not start"
}

if [ -z "$server" ]; then
    # Loopback addresses of our own, so that several runs can go side by side.
    net=127.$((100 + $$ % 100))
    say "starting gwproxy and the stand-in ($net.0.0/16)"
    start gwproxy "$gwproxy" local --data "$work/data" --kubeconfig "$work/kubeconfig" --api 127.0.0.1:0 \
        --metrics 127.0.0.1:0 --address-pool "$net.0.0/20"
    await gwproxy test -s "$work/kubeconfig"
    export KUBECONFIG=$work/kubeconfig
    standin=()
else
    # A real API server refuses loopback addresses in EndpointSlices. In a network namespace,
    # any address can be ours; Unix sockets lead out of it to the API server and back.
    net=10.244 space=gwproxy-conformance-$$
    say "starting gwproxy and the stand-in ($net.0.0/16 in the network namespace $space)"
    ip netns add "$space"
    ip -n "$space" link set lo up
    ip -n "$space" route add local "$net.0.0/16" dev lo
    inside=(ip netns exec "$space")
    kubectl --kubeconfig "$server" config view --raw --minify --flatten >"$work/kubeconfig"
    export KUBECONFIG=$work/kubeconfig
    url=$(kubectl config view -o 'jsonpath={.clusters[0].cluster.server}')
    host=${url#https://} && host=${host%%/*}
    case $host in *:*) ;; *) host=$host:443 ;; esac
    start bridge-out "$work/bridge" "unix:$work/api.sock" "tcp:$host"
    await bridge-out test -S "$work/api.sock"
    start bridge-in "${inside[@]}" "$work/bridge" tcp:127.0.0.1:6443 "unix:$work/api.sock"
    kubelet=127.0.0.1:$((20000 + $$ % 10000))
    start bridge-kubelet "$work/bridge" "tcp:$kubelet" "unix:$work/kubelet.sock"
    sed -i "s|^\( *\)server: .*|\1server: https://127.0.0.1:6443\n\1tls-server-name: ${host%:*}|" "$KUBECONFIG"
    await bridge-kubelet "${inside[@]}" kubectl get --raw /readyz
    start gwproxy "${inside[@]}" "$gwproxy" controller --kubeconfig "$KUBECONFIG" --metrics 127.0.0.1:6481 \
        --address-pool "$net.0.0/20"
    await gwproxy grep -q metrics "$work/gwproxy.log"
    standin=(--kubelet "unix:$work/kubelet.sock" --kubelet-advertise "$kubelet" --finalize-namespaces)
fi
start standin "${inside[@]}" "$work/standin" --kubeconfig "$KUBECONFIG" --pool "$net.32.0/19" --echo "$work/echo-basic" \
    --files "$work/pods" "${standin[@]}"
await standin grep -q ready "$work/standin.log"

suite+=(-usable-address "$net.16.1" -unusable-address 192.0.2.1)
if [ -n "${RUN:-}" ]; then suite+=(-only "$RUN"); else suite+=(-report-output "$work/report.yaml"); fi
begun=$SECONDS
passed=yes
# A signal ends a wait, but not a command in the foreground.
start suite "${inside[@]}" "$work/conformance.test" -test.v -test.timeout 30m -test.run TestConformance "${suite[@]}"
wait $! || passed=''
say "the suite took $((SECONDS - begun)) s"

if [ -n "${RUN:-}" ]; then
    grep -v -e '=== ' -e 'apply.go' "$work/suite.log" || true
    [ -n "$passed" ]
    exit
fi
grep -E '^ *--- FAIL' "$work/suite.log" >&2 || true
[ -s "$work/report.yaml" ] || { tail -n 40 "$work/suite.log" >&2; fail "the suite wrote no report"; }
"$work/report" table "$work/report.yaml" >"$work/features.md"
sed -n '/^| profile/,/^$/p' "$work/features.md" >&2
committed=$root/docs/conformance
result=0
"$work/report" compare "$committed/report.yaml" "$work/report.yaml" || result=1
if [ -n "$write" ]; then
    mkdir -p "$committed"
    cp "$work/report.yaml" "$committed/report.yaml"
    cp "$work/features.md" "$committed/features.md"
fi
exit "$result"
