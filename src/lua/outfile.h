/* outfile.h - a job's results on their way to a file or to standard output: module parlua.outfile.
 *
 * open(path) -> file, or nil, a message, and its reason alone. The file has no name until it is published, so that
 * nothing half-written is ever seen under its name, nor left behind by a process that is killed. Devices and pipes are
 * written to directly. stdout() -> the same for standard output. same(path, path) -> do both name one file, whether or
 * not it exists?
 *
 * file:write(bytes, length) -> true, or nil, an errno and how many bytes were written. EINTR: a signal asks the run to
 * end while nobody reads. file:cut(bytes) -> true, or nil and an errno: takes the last bytes away again.
 * file:publish(ending, is_lazy) -> true and the name, or nil and an errno: what was written is on the disk, and has the
 * path's name and the ending. Devices and pipes get none. Lazy: the system may write it to the disk later.
 * file:close() -> true, or nil and an errno. What was not published is gone. */
#ifndef PARLUA_OUTFILE_H
#define PARLUA_OUTFILE_H
#include <lua.h>

int luaopen_parlua_outfile(lua_State *L);
#endif
