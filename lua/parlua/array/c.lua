--- What arrays use of C: their memory (src/sys/shared.h) and the loops over it (src/lua/array.h).
local ffi = require "ffi"

local record = require "parlua.wire.record"

--- Declares what this state does not know yet: a script may load modules anew, and may have put something in the place
--- of ffi.cdef.
local function declare(name, text)
  local is_known, size = pcall(ffi.sizeof, "struct " .. name)
  if not is_known or not size then record.cdef(text) end
end

declare("shared_memory", [[
struct shared_memory { uint64_t id; char *bytes; uint64_t size; int32_t file; int32_t read_only; };
struct shared_memory *shared_new(uint64_t size, bool with_zeros, char **at);
struct shared_memory *shared_map_file(const char *path);
struct shared_memory *shared_of_message(const void *bytes, uint64_t size);
bool shared_prepare(void);
const char *shared_cut(const struct shared_memory *);
extern volatile uint32_t mapping_cuts; /* src/sys/mapping.h */
void shared_hold(struct shared_memory *);
void shared_drop(struct shared_memory *);
struct shared_memory *shared_find(uint64_t id);
struct shared_memory *shared_open(uint64_t id, int pid, int file, uint64_t inode, uint64_t size);
uint64_t shared_inode(struct shared_memory *);
void shared_trim(void);
double shared_total(void);
bool shared_offer(struct shared_memory *);
void shared_leave(struct shared_memory *);
struct shared_memory *shared_claim(uint64_t id);

struct array_moments { double sum, least, largest; };
int array_moments(int kind, const void *elements, uint64_t count, int threads, bool extremes,
  struct array_moments *result);
bool array_has_odd_nans(bool is_double, const void *elements, uint64_t count);
void array_mend_nans(bool is_double, void *elements, uint64_t count);
int array_convolve(bool is_double, const void *from, void *to, const uint64_t shape[3], bool both, const double *kernel,
  uint64_t length, int edge);
uint64_t array_nearest_room(uint64_t width);
void array_nearest(bool is_double, const void *points, uint64_t n, const void *centres, uint64_t count, uint64_t width,
  void *room, int32_t *numbers, void *distances);
struct parlua_array_description {
  uint64_t id, inode; /* of the memory; 0: it has none that the other side could know */
  double bytes, offset; /* of the memory; of the first element in it, where the elements are not written */
  int32_t pid, file, how, kind, rank, reserved;
  double dimension[32]; /* shape, then steps */
};
]])

return ffi.C
