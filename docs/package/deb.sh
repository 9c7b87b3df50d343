#!/bin/sh
# Builds a Debian package of what `make install` puts into a system: docs/package/deb.sh VERSION FILE.deb
# The maintainer is who builds it: DEBFULLNAME and DEBEMAIL, as for Debian's own tools, else as git knows them.
set -eu
version=$1
package=$(realpath -m "$2")
cd "$(dirname "$0")/../.."

name=${DEBFULLNAME:-$(git config user.name || echo "the parlua authors")}
address=${DEBEMAIL:-$(git config user.email || echo "root@$(hostname -f)")}
maintainer="$name <$address>"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
documents=$root/usr/share/doc/parlua
make --no-print-directory -s install PREFIX=/usr DESTDIR="$root"
strip --strip-unneeded "$root/usr/bin/parlua"
test ! -e "$root/usr/lib/parlua/parlua_mpi.so" || strip --strip-unneeded "$root/usr/lib/parlua/parlua_mpi.so"

# What the program needs is asked of its own binary; what it opens when it is wanted, or is there for MPI, only helps.
mkdir -p "$work/debian"
printf 'Source: parlua\n\nPackage: parlua\nArchitecture: any\n' > "$work/debian/control"
needs=$(cd "$work" && dpkg-shlibdeps -O "$root/usr/bin/parlua" 2> /dev/null | sed -n 's/^shlibs:Depends=//p')
size=$(du -sk "$root" | cut -f1)

mkdir -p "$root/DEBIAN"
cat > "$root/DEBIAN/control" << END
Package: parlua
Version: $version
Section: interpreters
Priority: optional
Architecture: $(dpkg --print-architecture)
Maintainer: $maintainer
Installed-Size: $size
Depends: $needs
Recommends: libsqlite3-0, libedit2
Suggests: openmpi-bin, libopenmpi3, lua-cjson
Description: run Lua functions in parallel
 A LuaJIT whose scripts hand work to threads, forked processes or the ranks of
 an MPI job. A task that raises an error, crashes or takes too long becomes a
 record of what went wrong, and the others go on. It runs jobs with a journal,
 from which an interrupted one resumes, programs for each word of its command
 line, and has a prompt.
END

mkdir -p "$documents"
{
  printf 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: parlua\n\n'
  printf 'Files: *\nCopyright: 2026 the parlua authors\nLicense: Expat\n'
  sed '1,/^Copyright/d; s/^$/./; s/^/ /' LICENSE | sed '1{/^ \.$/d}'
} > "$documents/copyright"
{
  printf 'parlua (%s) unstable; urgency=medium\n\n  * See /usr/share/doc/parlua/NEWS.gz.\n\n' "$version"
  day=$(sed -n 's/^## .*(\(.*\))$/\1/p' CHANGELOG.md | head -n 1)
  printf ' -- %s  %s\n' "$maintainer" "$(LC_ALL=C date -R -d "$day")"
} | gzip -9n > "$documents/changelog.gz"
gzip -9nc CHANGELOG.md > "$documents/NEWS.gz"

find "$root" -type d -exec chmod 755 {} +
(cd "$root" && find usr -type f -exec md5sum {} + > DEBIAN/md5sums)
mkdir -p "$(dirname "$package")"
dpkg-deb --root-owner-group --build "$root" "$package"
