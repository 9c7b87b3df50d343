--- The functions of LuaJIT's libraries, a line each, for help and signatures: what they take, and what they do.
local lines = [[
assert(value, message, ...) gives all it got, or raises the message when the value is nil or false
collectgarbage(what, number) collects garbage; "count" gives the kilobytes in use
dofile(path) runs a file of Lua and gives what it returns
error(value, level) raises a value; level 2 blames the caller
getfenv(f) gives the table of globals of a function
getmetatable(value) gives a value's metatable
ipairs(list) for i, item in ipairs(list) do ... end
load(text_or_function, name, mode, environment) compiles Lua and gives a function
loadfile(path, mode, environment) compiles a file and gives a function
loadstring(text, name) compiles Lua and gives a function
next(t, key) gives the key after a key, and its value
pairs(t) for key, value in pairs(t) do ... end
pcall(f, ...) calls f; gives true and its results, or false and what it raised
print(...) writes values, with tabs between them
rawequal(a, b) compares without metamethods
rawget(t, key) reads without metamethods
rawset(t, key, value) writes without metamethods
require(name) loads a module once and gives it
select(n, ...) gives the arguments from the n-th on; "#" gives how many there are
setfenv(f, t) gives a function another table of globals
setmetatable(t, metatable) gives t its metatable
tonumber(value, base) gives a number, or nil
tostring(value) gives a text
type(value) gives "nil", "number", "string", "boolean", "table", "function", "thread", "userdata" or "cdata"
unpack(list, first, last) gives the items of a list
xpcall(f, handler, ...) as pcall; the handler gets the error where it was raised
bit.arshift(x, n) shifts right and keeps the sign
bit.band(x, ...) bits that all have
bit.bnot(x) turns all bits round
bit.bor(x, ...) bits that any has
bit.bswap(x) turns the order of bytes round
bit.bxor(x, ...) bits that an odd number of them have
bit.lshift(x, n) shifts left
bit.rol(x, n) rotates left
bit.ror(x, n) rotates right
bit.rshift(x, n) shifts right, zeros come in
bit.tobit(x) brings a number into the range of 32 bits
bit.tohex(x, digits) gives a text in base 16
coroutine.create(f) gives a coroutine
coroutine.resume(co, ...) goes on with a coroutine
coroutine.running() gives the coroutine that runs
coroutine.status(co) gives "running", "suspended", "normal" or "dead"
coroutine.wrap(f) gives a function that goes on with a new coroutine at each call
coroutine.yield(...) gives values to whoever resumed
debug.getinfo(f_or_level, what) tells about a function
debug.getlocal(level, n) gives a local's name and value
debug.getupvalue(f, n) gives an upvalue's name and value
debug.sethook(hook, mask, count) has a function called as code runs
debug.traceback(message, level) gives the calls that are running, as text
ffi.abi(name) tells whether the machine has a property: "64bit", "le"
ffi.alignof(ctype) gives the alignment of a type, in bytes
ffi.cast(ctype, value) converts as C does
ffi.cdef(text) declares types and functions of C
ffi.copy(to, from, bytes) copies memory
ffi.errno(new) gives C's errno
ffi.fill(to, bytes, byte) fills memory
ffi.gc(cdata, finalizer) has a function called when cdata is collected
ffi.istype(ctype, value) tells whether a value has a type
ffi.load(name, global) opens a library of C
ffi.metatype(ctype, metatable) gives a type its metatable
ffi.new(ctype, ...) makes a value of a type
ffi.offsetof(ctype, field) gives where a field begins, in bytes
ffi.sizeof(ctype, n) gives a size in bytes
ffi.string(pointer, length) gives memory as a text
ffi.typeof(ctype) gives a type, to be called for a new value
io.close(file) closes a file
io.input(file) sets the file that io.read reads
io.lines(path, format) for line in io.lines(path) do ... end
io.open(path, mode) opens a file; nil and a message when it can't
io.output(file) sets the file that io.write writes
io.popen(command, mode) runs a command and gives its output, or its input
io.read(format, ...) reads: "*l" a line, "*n" a number, "*a" all, a number of bytes
io.tmpfile() opens a file that is removed when it is closed
io.type(value) gives "file", "closed file" or nil
io.write(...) writes texts
jit.flush() forgets all compiled code
jit.off(f, recursive) turns the compiler off
jit.on(f, recursive) turns the compiler on
jit.status() tells whether the compiler is on
math.abs(x) the value without its sign
math.acos(x) the angle, in radians
math.asin(x) the angle, in radians
math.atan(x) the angle, in radians
math.atan2(y, x) the angle of the point (x, y)
math.ceil(x) the integer above
math.cos(x) of an angle in radians
math.cosh(x) hyperbolic cosine
math.deg(x) degrees for radians
math.exp(x) e to the power of x
math.floor(x) the integer below
math.fmod(x, y) the rest of a division, with the sign of x
math.frexp(x) mantissa and exponent
math.ldexp(m, e) m times 2 to the power of e
math.log(x, base) the logarithm
math.log10(x) the logarithm to base 10
math.max(x, ...) the largest
math.min(x, ...) the smallest
math.modf(x) the integer part and the rest
math.pow(x, y) x to the power of y
math.rad(x) radians for degrees
math.random(m, n) a random number: from 0 up to 1, an integer up to m, or from m to n
math.randomseed(seed) begins the random numbers anew
math.sin(x) of an angle in radians
math.sinh(x) hyperbolic sine
math.sqrt(x) the square root
math.tan(x) of an angle in radians
math.tanh(x) hyperbolic tangent
os.clock() processor time of this program, in seconds
os.date(format, time) a date as text; "*t" gives a table
os.difftime(later, earlier) seconds between two times
os.execute(command) runs a command of the shell
os.exit(status) ends the program
os.getenv(name) gives a variable of the environment
os.remove(path) removes a file
os.rename(old, new) renames a file
os.setlocale(locale, category) sets the locale
os.time(t) seconds since 1970
os.tmpname() a name for a file that is not there yet
package.loadlib(path, name) gives a function of a library of C
string.byte(s, first, last) gives the bytes as numbers
string.char(...) gives a text of bytes
string.dump(f, strip) gives a function as bytecode
string.find(s, pattern, from, plain) gives where a pattern first matches: first and last byte, captures
string.format(format, ...) fills in values: %d %s %g %5.2f %q
string.gmatch(s, pattern) for capture in s:gmatch(pattern) do ... end
string.gsub(s, pattern, replacement, most) replaces; gives the text, and how often
string.len(s) how many bytes
string.lower(s) with small letters
string.match(s, pattern, from) gives the captures of the first match
string.rep(s, n, separator) the text n times
string.reverse(s) backwards
string.sub(s, first, last) a part of the text; negative numbers count from the end
string.upper(s) with capital letters
table.concat(list, separator, first, last) joins texts
table.foreach(t, f) calls f(key, value) for each; pairs does it better
table.foreachi(list, f) calls f(i, item) for each; ipairs does it better
table.getn(list) the length of a list; # does it better
table.insert(list, position, item) puts an item in; at the end without a position
table.maxn(t) the largest number among the keys
table.move(from, first, last, to, into) copies items
table.remove(list, position) takes an item out and gives it
table.sort(list, less) sorts in place; less(a, b) tells whether a comes first]]

local M = {} -- by name: {signature, what it does}

for line in lines:gmatch "[^\n]+" do
  local name, parameters, text = line:match("^([%w_.]+)(%b()) (.*)$")
  M[name] = { name .. parameters, text }
end

return M
