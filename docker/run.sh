#!/bin/sh
# Start mmr in a container, with matrix-media-repo's environment and volumes:
#   REPO_CONFIG   file or folder of the configuration; made when it is missing
#   SERVER_NAME   for a configuration that is made (default: localhost)
#   MACHINE_ID    number of this process in a cluster
#   UID, GID      only when started as root: become these, after owning the data
# Arguments are passed on to mmr.
set -eu

config=${REPO_CONFIG:-/data/media-repo.yaml}
media=${MEDIA_PATH:-/media}
data=$(dirname "$config")
# Relative paths in the configuration (logs, SQLite) are below the data folder.
cd "$data"

if [ ! -e "$config" ]; then
    (umask 077 && mmr --generate-config --server-name "${SERVER_NAME:-localhost}" \
        --bind-address 0.0.0.0 --store-path "$media" >"$config.new")
    mv "$config.new" "$config"
    echo "Made $config. Set homeservers: and whatever else you need, and restart." >&2
fi

if [ "$(id -u)" = 0 ] && [ -n "${UID:-}" ]; then
    owner="$UID:${GID:-$UID}"
    for folder in "$data" "$media"; do
        # Going through millions of files at each start would take hours.
        if [ -d "$folder" ] && [ "$(stat -c %u:%g "$folder")" != "$owner" ]; then
            chown -R "$owner" "$folder"
        fi
    done
    if [ -f "$config" ]; then
        chown "$owner" "$config"
    fi
    exec setpriv --reuid="$UID" --regid="${GID:-$UID}" --clear-groups mmr "$@"
fi
exec mmr "$@"
