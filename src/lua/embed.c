/* Build-time tool: writes a C file that holds the Lua library as bytecode, and shared.h as a string.

     embed OUTPUT.c SHARED.h LUA_ROOT MODULE.lua...

   The modules are compiled by the very libluajit that parlua is linked with: bytecode differs between versions.
   Debug information stays in, for messages and tracebacks. A module's chunk name is "=parlua/run/init.lua": it reads as a
   path in messages, and the "=" tells it apart from a file of the user with the same path. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

enum { BYTES_PER_LINE = 20, NAME_SIZE = 256 };

static FILE *output;

/* Ends the build with a message; a half-written output must not look up to date to make. */
static _Noreturn void fail(const char *path, const char *what)
{
  fprintf(stderr, "embed: %s: %s\n", path, what);
  exit(EXIT_FAILURE);
}

/* The path below the root: "lua/parlua/run/init.lua" -> "parlua/run/init.lua". */
static const char *below_root(const char *path, const char *root)
{
  size_t length = strlen(root);
  if (strncmp(path, root, length) != 0 || path[length] != '/') fail(path, "is not below the root of the modules");
  return path + length + 1;
}

/* The name for `require`: "parlua/run/init.lua" -> "parlua.run", "parlua/init.lua" -> "parlua". */
static void module_name(const char *path, char name[NAME_SIZE])
{
  size_t length = strlen(path);
  if (length < 5 || length >= NAME_SIZE || strcmp(path + length - 4, ".lua") != 0) fail(path, "is no name of a Lua module");
  memcpy(name, path, length - 4);
  name[length - 4] = '\0';
  for (char *p = name; *p; p++)
    if (*p == '/') *p = '.';
  char *last = strrchr(name, '.');
  if (last && strcmp(last, ".init") == 0) *last = '\0';
}

/* A whole file as a string that the caller frees; `length` receives its size in bytes. */
static char *read_file(const char *path, size_t *length)
{
  FILE *file = fopen(path, "rb");
  if (!file) fail(path, strerror(errno));
  if (fseek(file, 0, SEEK_END) != 0) fail(path, strerror(errno));
  long size = ftell(file);
  rewind(file);
  char *text = size >= 0 ? malloc((size_t)size + 1) : NULL;
  if (!text) fail(path, "no memory for it");
  *length = fread(text, 1, (size_t)size, file);
  if (ferror(file)) fail(path, strerror(errno));
  text[*length] = '\0';
  fclose(file);
  return text;
}

/* Bytes written so far on the present line of the output. */
static int column;

/* Writes bytes as numbers of an array initialiser. */
static void write_bytes(const unsigned char *bytes, size_t length)
{
  for (size_t i = 0; i < length; i++) {
    fprintf(output, "%u,", bytes[i]);
    if (++column == BYTES_PER_LINE) {
      fputc('\n', output);
      column = 0;
    }
  }
}

/* A lua_Writer. */
static int write_bytecode(lua_State *L, const void *bytes, size_t length, void *context)
{
  (void)L, (void)context;
  write_bytes(bytes, length);
  return 0;
}

/* Compiles one module and writes its bytecode as the array module_<number>. */
static void embed_module(lua_State *L, const char *file, const char *path, int number)
{
  size_t length;
  char *source = read_file(file, &length);
  char chunk[NAME_SIZE + 1];
  snprintf(chunk, sizeof chunk, "=%s", path);
  if (luaL_loadbuffer(L, source, length, chunk) != 0) fail(file, lua_tostring(L, -1));
  fprintf(output, "static const unsigned char module_%d[] = {\n", number);
  column = 0;
  lua_dump(L, write_bytecode, NULL);
  fprintf(output, "};\n\n");
  lua_pop(L, 1);
  free(source);
}

/* Where the comment that begins at `text` ends. */
static const char *behind_comment(const char *text)
{
  const char *end = strstr(text + 2, "*/");
  return end ? end + 2 : text + strlen(text);
}

/* Writes the header as a C string for ffi.cdef, which each new state parses: without the lines that are for the preprocessor,
 * without comments, without the space that only people need. */
static void embed_header(const char *path)
{
  size_t length;
  char *text = read_file(path, &length);
  bool begins_line = true, spaced = true;
  fprintf(output, "const char embedded_shared_h[] = {\n");
  column = 0;
  for (const char *at = text; *at;) {
    bool comment = at[0] == '/' && at[1] == '*';
    if (begins_line && *at == '#') {
      at += strcspn(at, "\n");
    } else if (comment || strchr(" \t\n", *at)) {
      if (!spaced) write_bytes((const unsigned char *)" ", 1);
      spaced = true;
      begins_line |= *at == '\n';
      at = comment ? behind_comment(at) : at + 1;
    } else {
      write_bytes((const unsigned char *)at++, 1);
      begins_line = spaced = false;
    }
  }
  fprintf(output, "0};\n");
  free(text);
}

int main(int argc, char **argv)
{
  if (argc < 4) {
    fprintf(stderr, "usage: embed OUTPUT.c SHARED.h LUA_ROOT MODULE.lua...\n");
    return EXIT_FAILURE;
  }
  const char *header = argv[2], *root = argv[3];
  lua_State *L = luaL_newstate();
  output = fopen(argv[1], "w");
  if (!L || !output) fail(argv[1], strerror(errno));
  luaL_openlibs(L); /* the parser loads the FFI for 64-bit constants, and closing the state then needs the rest of it */
  fprintf(output, "/* Written by embed.c when parlua was built. */\n#include \"lua/state.h\"\n\n");

  for (int i = 4; i < argc; i++) embed_module(L, argv[i], below_root(argv[i], root), i);

  fprintf(output, "const struct embedded_module embedded_modules[] = {\n");
  for (int i = 4; i < argc; i++) {
    char name[NAME_SIZE];
    module_name(below_root(argv[i], root), name);
    fprintf(output, "  {\"%s\", module_%d, sizeof module_%d},\n", name, i, i);
  }
  fprintf(output, "  {NULL, NULL, 0},\n};\n\n");
  embed_header(header);

  lua_close(L);
  if (fclose(output) != 0) fail(argv[1], strerror(errno));
  return EXIT_SUCCESS;
}
