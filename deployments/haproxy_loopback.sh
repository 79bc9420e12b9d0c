#!/bin/sh
# HAProxy with its statistics and metrics pages on loopback. Serve writes their listeners for all interfaces and has no
# setting for it; RAY_SERVE_HAPROXY_BINARY_PATH names this file instead of the binary, whose path is in HAPROXY_BINARY.
previous=""
for argument in "$@"; do
    if [ "$previous" = "-f" ] && [ -f "$argument" ]; then
        sed -i -E 's/^([[:space:]]*bind )\*?:([0-9]+)/\1127.0.0.1:\2/' "$argument"
    fi
    previous="$argument"
done
exec "$HAPROXY_BINARY" "$@"
