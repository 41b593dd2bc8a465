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

build=debug write='' keep=''
suite=(-cleanup-base-resources=false)
# A condition that gwproxy sets at all, it sets within a second.
quick='MaxTimeToConsistency:10;GatewayMustHaveAddress:10;GatewayMustHaveCondition:10;GatewayStatusMustHaveListeners:10;GatewayListenersMustHaveConditions:10;ListenerSetMustHaveCondition:10;ListenerSetListenersMustHaveConditions:10;HTTPRouteMustNotHaveParents:10;HTTPRouteMustHaveCondition:10;TLSRouteMustHaveCondition:10;TCPRouteMustHaveCondition:10;UDPRouteMustHaveCondition:10;RouteMustHaveParents:10;LatestObservedGenerationSet:10;DefaultTestTimeout:15;NamespacesMustBeReady:60'
while [ $# -gt 0 ]; do
    case $1 in
    --release) build=release ;;
    --every-feature) suite+=(-gateway-features) ;;
    --quick) suite+=(-timeout-config-overrides "$quick") ;;
    --write) write=yes ;;
    --keep) keep=yes ;;
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
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
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
(cd "$here" && go build -o "$work/" sigs.k8s.io/gateway-api/conformance/echo-basic ./standin ./report &&
    go test -c -o "$work/conformance.test" .)

# Loopback addresses of our own, so that several runs can go side by side.
net=127.$((100 + $$ % 100))
say "starting gwproxy and the stand-in ($net.0.0/16)"
"$gwproxy" local --data "$work/data" --kubeconfig "$work/kubeconfig" --api 127.0.0.1:0 --metrics 127.0.0.1:0 \
    --address-pool "$net.0.0/20" >"$work/gwproxy.log" 2>&1 &
pids+=($!)
for _ in $(seq 100); do
    [ -s "$work/kubeconfig" ] && break
    kill -0 "${pids[0]}" 2>/dev/null || { cat "$work/gwproxy.log" >&2; fail "gwproxy ended"; }
    sleep 0.1
done
export KUBECONFIG=$work/kubeconfig
"$work/standin" --kubeconfig "$work/kubeconfig" --pool "$net.32.0/19" --echo "$work/echo-basic" \
    --files "$work/pods" >"$work/standin.log" 2>&1 &
pids+=($!)
for _ in $(seq 300); do
    grep -q ready "$work/standin.log" && break
    kill -0 "${pids[1]}" 2>/dev/null || { cat "$work/standin.log" >&2; fail "the stand-in ended"; }
    sleep 0.1
done

suite+=(-usable-address "$net.16.1" -unusable-address 192.0.2.1 -allow-crds-mismatch)
if [ -n "${RUN:-}" ]; then suite+=(-only "$RUN"); else suite+=(-report-output "$work/report.yaml"); fi
begun=$SECONDS
passed=yes
"$work/conformance.test" -test.v -test.timeout 30m -test.run TestConformance \
    "${suite[@]}" >"$work/suite.log" 2>&1 &
pids+=($!)
# A signal ends a wait, but not a command in the foreground.
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
sed -n '/^|/,/^$/p' "$work/features.md" | sed '/^## /,$d' >&2
committed=$root/docs/conformance
result=0
"$work/report" compare "$committed/report.yaml" "$work/report.yaml" || result=1
if [ -n "$write" ]; then
    mkdir -p "$committed"
    cp "$work/report.yaml" "$committed/report.yaml"
    cp "$work/features.md" "$committed/features.md"
fi
exit "$result"
