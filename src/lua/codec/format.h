/*
 * format.h - the bytes of a message. Numbers of several bytes are in the machine's order: a message is read by the
 * build that wrote it.
 *
 *   message: count (varint), then that many values, each followed by the bodies that it put off, in the order of their
 * heads
 *
 *   tag        value                      what follows the tag byte
 *   ---        -----                      -------------------------
 *   00 01 02   nil, false, true           nothing
 *   03 04 05   number                     int16 | int32 | double
 *   06 *       string                     length (u32), bytes
 *   08 *       table                      array hint (u8), hash hint (u8), then its body
 *   0a *       function                   dump (a string value), checksum of the dump (u64), flags (u8), then its body
 *   0c         what has a name            module (string value), field (string value or nil)
 *   0e         a shared object again      its offset in the message (varint)
 *   0f         an object of a book        which book of the chain (varint, from 1), offset (varint): see book.h
 *   10 11      int64_t, uint64_t          8 bytes
 *   12         complex (double)           16 bytes
 *   13         light userdata             8 bytes
 *   15         FFI namespace              name of the library (string value; nil: ffi.C)
 *   16         C function                 type, symbol, library (values), address (u64)
 *   17         ctype                      description (value), see lua/parlua/wire/declarations.lua
 *   18 *       cdata                      description (value), size (varint), bytes
 *   1a *       string.buffer              content (string value)
 *   1c *       module to be required      name (string value), then its parts: a value that is merged into the module
 *   1e *       object to be made          module, function, settings (values), then its parts, merged in the same way
 *   2c *       what is there already      what to say if nothing is (string value or nil); only while merging
 *   30 *       table, its body put off    array hint, hash hint
 *   32 *       function, body put off     as a function's head
 *   34 *       array                      description (value), see lua/parlua/array/wire.lua, size (varint); of size 0
 *                                         nothing, else how many bytes to pass over (u8), these, the elements
 *   36 *       environment as a value     0e or 0f (as above) of what some function has as its environment, then a
 *                                         table (08 or 30): all that it holds, in place of what was named
 *   38 *       what newproxy makes        its metatable (value; nil: none)
 *   40..7f     short string               bytes (tag & 3f of them)
 *   80..ff     number 0 to 127            nothing
 *
 *   body of a table: [META value], [ZERO value], (value | NUMBERS count (u32) doubles)*, [PAIRS (key value)*], END
 *   body of a function: environment, (name value)* for the globals, END, number of upvalues (u8), upvalues
 *   markers: 20 END, 21 PAIRS, 22 META, 23 ZERO (the value at index 0), 24 NUMBERS
 *   environment of a function: 26 the standard one | 28 * one of its own | 2e a table (a value) | 0e reference to one
 *   upvalue of a function: 2a * and its value | 0e, 0f reference to a cell that another function has too
 *
 * Objects marked * exist in two variants: tag, and tag + 1, 'shared', which says that a reference to it follows
 * somewhere. The encoder writes the plain tag and patches it when it meets the object again, so the decoder keeps a
 * list of shared objects only, in the order of their offsets, and ordinary messages cost it nothing. (For a book it
 * keeps all objects.)
 *
 * Values nest in the message as they do in Lua, down to NESTING_LIMIT levels; what lies deeper is put off, so that
 * lists and trees of any depth cross without a deep stack.
 *
 * A hint is how much room to make in the table: exact below 128, above that a float with two bits of mantissa.
 */
#ifndef PARLUA_CODEC_FORMAT_H
#define PARLUA_CODEC_FORMAT_H

enum tag {
  TAG_NIL,
  TAG_FALSE,
  TAG_TRUE,
  TAG_INT16,
  TAG_INT32,
  TAG_DOUBLE,
  TAG_STRING,
  TAG_TABLE = 0x08,
  TAG_FUNCTION = 0x0a,
  TAG_NAME = 0x0c,
  TAG_REFERENCE = 0x0e,
  TAG_BOOK,
  TAG_INT64,
  TAG_UINT64,
  TAG_COMPLEX,
  TAG_ADDRESS,
  TAG_NAMESPACE = 0x15,
  TAG_SYMBOL,
  TAG_CTYPE,
  TAG_CDATA = 0x18,
  TAG_TEXT = 0x1a,
  TAG_MODULE = 0x1c,
  TAG_MADE = 0x1e,
  TAG_END = 0x20,
  TAG_PAIRS,
  TAG_META,
  TAG_ZERO,
  TAG_NUMBERS,
  TAG_STANDARD = 0x26,
  TAG_ENVIRONMENT = 0x28,
  TAG_CELL = 0x2a,
  TAG_KEEP = 0x2c,
  TAG_OUTSIDE = 0x2e,
  TAG_TABLE_HEAD = 0x30,
  TAG_FUNCTION_HEAD = 0x32,
  TAG_ARRAY = 0x34,
  TAG_FILLED = 0x36,
  TAG_PROXY = 0x38,
  TAG_SHORT_STRING = 0x40,
  TAG_SMALL = 0x80,
  SHARED = 1
};

enum function_flags {
  FUNCTION_NOT_COMPILED = 1, /* jit.off was called for it */
  FUNCTION_HAS_TEMPLATES = 2 /* it is to be completed: lua/parlua/wire/template.lua */
};

enum {
  LONGEST_SHORT_STRING = 0x3f,
  LARGEST_SMALL = 0x7f,
  LARGEST_EXACT_HINT = 127,
  /* Levels of values in values before bodies are put off, in both directions: 64 KB of C stack. */
  NESTING_LIMIT = 120,
  /* Stack slots that one level of nesting may need beyond those of the level above. LuaJIT allows a C function 8000. */
  SLOTS_PER_LEVEL = 24,
  ARRAY_ALIGNMENT = 64, /* of an array's elements in the buffer that the message stands in */
  TYPE_CDATA = 10       /* type number of a cdata in LuaJIT's C API; its headers do not name it */
};

#endif
