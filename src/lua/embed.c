/* Build-time tool: writes a C file that holds the Lua library as bytecode, and the declarations of headers as strings.

     embed OUTPUT.c REWRITE.lua LUA_ROOT HEADER.h... MODULE.lua...

   The modules are compiled by the very libluajit that parlua is linked with: bytecode differs between versions.
   REWRITE.lua returns what is made of a module's text before: see rewrite.lua.
   One more module is made here: parlua.prompt.documentation, the documentation comments, which bytecode does not have.
   Debug information stays in, for messages and tracebacks. A module's chunk name is "=parlua/run/init.lua": it reads as
   a path in messages, and the "=" tells it apart from a file of the user with the same path. */
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
  if (length < 5 || length >= NAME_SIZE || strcmp(path + length - 4, ".lua") != 0)
    fail(path, "is no name of a Lua module");
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

/* --- documentation comments ------------------------------------------------------------------------------------- */

static FILE *documentation; /* the text of the module that holds them */

/* Writes text as a string of Lua. */
static void write_lua_string(const char *text, size_t length)
{
  fputc('"', documentation);
  for (size_t i = 0; i < length; i++) {
    if (text[i] == '\n')
      fputs("\\n", documentation);
    else if (text[i] == '"' || text[i] == '\\')
      fprintf(documentation, "\\%c", text[i]);
    else
      fputc(text[i], documentation);
  }
  fputc('"', documentation);
}

/* The length of the name that a line defines, "function M.range(a)" or "parlua.range = sources.range", and where it
 * begins; 0: none. */
static size_t defined_name(const char *line, const char **name)
{
  static const char keyword[] = "function ";
  bool is_function = strncmp(line, keyword, strlen(keyword)) == 0;
  *name = is_function ? line + strlen(keyword) : line;
  size_t length = strspn(*name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:");
  if (is_function) return length;
  return memchr(*name, '.', length) && strncmp(*name + length, " = ", 3) == 0 ? length : 0;
}

/* Writes an entry for each comment of a module that begins with "---" and stands above a definition:
   {path, line, name, parameters, comment}. */
static void collect_documentation(const char *source, const char *path)
{
  const char *comment = NULL; /* where the present one begins */
  int number = 1;
  for (const char *line = source; *line; number++) {
    size_t length = strcspn(line, "\n");
    bool is_comment = strncmp(line, "--", 2) == 0;
    const char *name;
    size_t name_length = comment && !is_comment ? defined_name(line, &name) : 0;
    if (name_length > 0) {
      size_t parameters = name[name_length] == '(' ? strcspn(name + name_length, ")\n") + 1 : 0;
      fprintf(documentation, "{\"%s\",%d,", path, number);
      write_lua_string(name, name_length);
      fputc(',', documentation);
      write_lua_string(name + name_length, parameters);
      fputc(',', documentation);
      write_lua_string(comment, (size_t)(line - comment));
      fputs("},\n", documentation);
    }
    if (!is_comment)
      comment = NULL;
    else if (!comment && strncmp(line, "---", 3) == 0)
      comment = line;
    line += length + (line[length] == '\n');
  }
}

/* --- modules ---------------------------------------------------------------------------------------------------- */

/* Compiles a module and writes its bytecode as the array module_<number>. `file` is for messages. */
static void embed_text(lua_State *L, const char *file, const char *source, size_t length, const char *path, int number)
{
  char chunk[NAME_SIZE + 1];
  snprintf(chunk, sizeof chunk, "=%s", path);
  if (luaL_loadbuffer(L, source, length, chunk) != 0) fail(file, lua_tostring(L, -1));
  fprintf(output, "static const unsigned char module_%d[] = {\n", number);
  column = 0;
  lua_dump(L, write_bytecode, NULL);
  fprintf(output, "};\n\n");
  lua_pop(L, 1);
}

/* Embeds one module, and takes its documentation. What REWRITE.lua returned is on top of the stack. */
static void embed_module(lua_State *L, const char *file, const char *path, int number)
{
  size_t length;
  char *source = read_file(file, &length);
  collect_documentation(source, path);
  lua_pushvalue(L, -1);
  lua_pushlstring(L, source, length);
  free(source);
  if (lua_pcall(L, 1, 1, 0) != 0) fail(file, lua_tostring(L, -1));
  const char *bound = lua_tolstring(L, -1, &length);
  embed_text(L, file, bound, length, path, number);
  lua_pop(L, 1);
}

/* Where the comment that begins at `text` ends. */
static const char *behind_comment(const char *text)
{
  const char *end = strstr(text + 2, "*/");
  return end ? end + 2 : text + strlen(text);
}

/* Writes a header's bytes for ffi.cdef, which each state parses that needs it: without the lines that are for the
 * preprocessor, without comments, without the space that only people need. */
static void embed_header(const char *path)
{
  size_t length;
  char *text = read_file(path, &length);
  bool begins_line = true, spaced = true;
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
  free(text);
}

static bool is_header(const char *path)
{
  size_t length = strlen(path);
  return length > 2 && strcmp(path + length - 2, ".h") == 0;
}

/* A module's name, and the number of the array that holds it. */
struct entry {
  char name[NAME_SIZE];
  int number;
};

static int compare_entries(const void *a, const void *b)
{
  return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

/* Writes the table of the modules, sorted by name. The first of the `count` paths is that of array `first`; the one
 * behind the last is the documentation. */
static void embed_table(char **paths, int count, int first, const char *root)
{
  struct entry *entries = calloc((size_t)count + 1, sizeof *entries);
  if (!entries) fail("the table of modules", "no memory for it");
  for (int i = 0; i <= count; i++) {
    if (i < count)
      module_name(below_root(paths[i], root), entries[i].name);
    else
      strcpy(entries[i].name, "parlua.prompt.documentation");
    entries[i].number = first + i;
  }
  qsort(entries, (size_t)count + 1, sizeof *entries, compare_entries);
  fprintf(output, "const struct embedded_module embedded_modules[] = {\n");
  for (struct entry *e = entries; e <= entries + count; e++)
    fprintf(output, "  {\"%s\", module_%d, sizeof module_%d},\n", e->name, e->number, e->number);
  fprintf(output, "};\n\nconst size_t embedded_modules_count = %d;\n\n", count + 1);
  free(entries);
}

int main(int argc, char **argv)
{
  if (argc < 5) {
    fprintf(stderr, "usage: embed OUTPUT.c REWRITE.lua LUA_ROOT HEADER.h... MODULE.lua...\n");
    return EXIT_FAILURE;
  }
  const char *root = argv[3];
  int headers = 4, modules = headers;
  while (modules < argc && is_header(argv[modules])) modules++;
  lua_State *L = luaL_newstate();
  output = fopen(argv[1], "w");
  if (!L || !output) fail(argv[1], strerror(errno));
  luaL_openlibs(L); /* the parser loads the FFI for 64-bit constants, and closing the state then needs the rest of it */
  if (luaL_loadfile(L, argv[2]) != 0 || lua_pcall(L, 0, 1, 0) != 0) fail(argv[2], lua_tostring(L, -1));
  fprintf(output, "/* Written by embed.c when parlua was built. */\n#include \"lua/state.h\"\n\n");

  char *text;
  size_t length;
  documentation = open_memstream(&text, &length);
  if (!documentation) fail("the documentation", "no memory for it");
  fputs("return {\n", documentation);
  for (int i = modules; i < argc; i++) embed_module(L, argv[i], below_root(argv[i], root), i);
  fputs("}\n", documentation);
  if (fclose(documentation) != 0) fail("the documentation", strerror(errno));
  embed_text(L, "the documentation", text, length, "parlua/prompt/documentation.lua", argc);
  free(text);

  embed_table(argv + modules, argc - modules, modules, root);
  for (int i = headers; i < modules; i++) {
    fprintf(output, "static const char header_%d[] = {\n", i);
    column = 0;
    embed_header(argv[i]);
    fprintf(output, "0};\n\n");
  }
  fprintf(output, "const struct embedded_header embedded_headers[] = {\n");
  for (int i = headers; i < modules; i++) fprintf(output, "  {\"%s\", header_%d},\n", below_root(argv[i], "src"), i);
  fprintf(output, "  {NULL, NULL},\n};\n");

  lua_close(L);
  if (fclose(output) != 0) fail(argv[1], strerror(errno));
  return EXIT_SUCCESS;
}
