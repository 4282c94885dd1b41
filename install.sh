#!/bin/sh
# Installs the command dynamo-lock from a release on GitHub:
#
#   curl -fsSL https://github.com/dynamo-lock/dynamo-lock/releases/latest/download/install.sh | sh
#   sh install.sh --version 0.1.0 --to /usr/local/bin
#
# Downloads the archive for this platform and SHA256SUMS, compares the checksum, and copies the program into a folder.
# Nothing else is changed. Needs curl or wget, tar, and sha256sum or shasum.

set -eu

usage() {
    cat <<'END'
usage: install.sh [--version VERSION] [--to FOLDER] [--from URL]

  --version VERSION   version to install, for example 0.1.0 [default: the latest release]
  --to FOLDER         folder of the program [default: ~/.local/bin]
  --from URL          folder with the archives and SHA256SUMS, in place of a release on GitHub
END
}

fail() {
    echo "install.sh: $*" >&2
    exit 1
}

# Prints the target of the archives for this platform.
target() {
    case $(uname -m) in
        x86_64 | amd64) processor=x86_64 ;;
        aarch64 | arm64) processor=aarch64 ;;
        *) fail "no archive for the processor $(uname -m); build it with cargo install dynamo-lock-cli" ;;
    esac
    case $(uname -s) in
        Linux) echo "$processor-unknown-linux-musl" ;;
        Darwin) echo "$processor-apple-darwin" ;;
        *) fail "no archive for the system $(uname -s); build it with cargo install dynamo-lock-cli" ;;
    esac
}

# Downloads URL to FILE. A redirection never leads to a server without TLS.
download() {
    if command -v curl >/dev/null 2>&1; then
        curl -fsSL --retry 3 --proto-redir =https -o "$2" "$1"
    elif command -v wget >/dev/null 2>&1; then
        wget -q -O "$2" "$1"
    else
        fail "neither curl nor wget was found; install one"
    fi || fail "cannot download $1; check the version and the network"
}

# Prints the SHA-256 of FILE.
checksum() {
    if command -v sha256sum >/dev/null 2>&1; then
        sha256sum "$1"
    elif command -v shasum >/dev/null 2>&1; then
        shasum -a 256 "$1"
    else
        fail "neither sha256sum nor shasum was found; install one"
    fi | cut -d ' ' -f 1
}

main() {
    releases=https://github.com/dynamo-lock/dynamo-lock/releases
    from=$releases/latest/download
    to=${HOME:-}/.local/bin
    version=
    while [ $# -gt 0 ]; do
        case $1 in
            -h | --help) usage && return ;;
            --version | --to | --from) [ -n "${2:-}" ] || fail "$1 needs a value" ;;
            *) usage >&2 && fail "unknown argument: $1" ;;
        esac
        case $1 in
            --version) version=${2#v} from=$releases/download/v${2#v} ;;
            --to) to=$2 ;;
            --from) elsewhere=$2 ;;
        esac
        shift 2
    done
    from=${elsewhere:-$from}
    target=$(target)

    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    trap 'exit 1' HUP INT TERM

    # SHA256SUMS also names the version, so that the latest one needs no other request.
    download "$from/SHA256SUMS" "$folder/SHA256SUMS"
    archive=$(sed -n "s/^[0-9a-f]\{64\} [ *]\(dynamo-lock-${version:-[^/]*}-$target\.tar\.gz\)\$/\1/p" "$folder/SHA256SUMS")
    [ "$(printf '%s\n' "$archive" | wc -w)" -eq 1 ] || fail "SHA256SUMS does not name one archive for $target; see $releases"
    expected=$(sed -n "s/ [ *]$archive\$//p" "$folder/SHA256SUMS")

    download "$from/$archive" "$folder/$archive"
    actual=$(checksum "$folder/$archive")
    [ "$actual" = "$expected" ] || fail "the checksum of $archive is $actual, but must be $expected; nothing was installed"
    tar -xzf "$folder/$archive" -C "$folder"

    # The new program replaces the old one only after it has started once.
    mkdir -p "$to"
    part=$to/.dynamo-lock.$$
    trap 'rm -rf "$folder" "$part"' EXIT
    cp "$folder/${archive%.tar.gz}/dynamo-lock" "$part"
    chmod 755 "$part"
    installed=$("$part" --version) || fail "the program of $archive does not start on this system; nothing was installed"
    mv -f "$part" "$to/dynamo-lock"
    echo "installed $installed: $to/dynamo-lock"
    case :$PATH: in
        *":$to:"*) ;;
        *) echo "add $to to PATH to call it as dynamo-lock" ;;
    esac
}

# Called at the end, so that a download that was cut short runs nothing.
main "$@"
