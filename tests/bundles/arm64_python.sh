#!/bin/sh
# arm64_python.sh DIRECTORY: unpack Debian's Python for arm64 into DIRECTORY/root, to run it by
# qemu. The system's own packages and their state stay as they are.
set -eu
directory=$(mkdir -p "$1" && cd "$1" && pwd)
mkdir -p "$directory/state/lists/partial" "$directory/cache/archives/partial" "$directory/root"
: >"$directory/status"
cat >"$directory/apt.conf" <<END
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Dir::State "$directory/state";
Dir::State::status "$directory/status";
Dir::Cache "$directory/cache";
END
export APT_CONFIG="$directory/apt.conf"
apt-get update -qq
# Nothing is installed there, so all that Python needs comes along. pyroaring needs libstdc++.
apt-get install -y -qq --download-only python3-minimal libpython3-stdlib libstdc++6
for package in "$directory"/cache/archives/*.deb; do
    dpkg -x "$package" "$directory/root"
done
rm -rf "$directory/cache" "$directory/state"
