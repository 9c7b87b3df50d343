--- parlua.load and a:save: arrays in files.
local C = require "parlua.array.c"
local core = require "parlua.array.core"
local ffi = require "ffi"
local given = require "parlua.array.given"
local host = require "parlua.host"
local make = require "parlua.array.make"
local nans = require "parlua.array.nans"
local npy = require "parlua.array.npy"
local outfile = require "parlua.outfile"
local picture = require "parlua.array.picture"
local views = require "parlua.array.views"
local zip = require "parlua.array.zip"

local M = {}

local refuse, show = core.refuse, core.show
local LOAD, SAVE = { "type", "shape", "offset", "check" }, { "format", "low", "high", "bits" }

--- Raises an error where it can't be the name of a file.
local function check_path(what, path)
  if type(path) ~= "string" then refuse("%s: the name of a file is expected, got %s", what, show(path)) end
  if path:find("\0", 1, true) then
    refuse("%s: %s has a NUL in it, which no name of a file can have", what, show(path))
  end
end

-- ---- loading ----

--- A file of plain elements.
local function load_plain(path, shared, options)
  local kind = make.check_kind("parlua.load", options.type)
  local offset = options.offset
  if offset == nil then offset = 0 end
  if type(offset) ~= "number" or offset < 0 or offset % 1 ~= 0 then
    refuse("parlua.load: offset must be an integer of at least 0, got %s", show(offset))
  end
  local there = math.floor((tonumber(shared.size) - offset) / kind.size)
  local shape = options.shape or { there }
  if type(shape) == "number" then shape = { shape } end
  if type(shape) ~= "table" then refuse("parlua.load: shape must be a list of sizes, got %s", show(shape)) end
  if there < 1 then
    refuse("parlua.load: '%s' has %.0f bytes: behind the offset of %.0f there is no %s", path, tonumber(shared.size),
      offset, kind.name)
  end
  shape = views.check_shape("parlua.load", nil, shape, #shape)
  local count = 1
  for _, size in ipairs(shape) do count = count * size end
  if count > there then
    refuse("parlua.load: '%s' has %.0f bytes: %s of %s from byte %.0f on take %.0f", path, tonumber(shared.size),
      core.shape_text(shape),
      kind.name, offset, count * kind.size)
  end
  if offset % kind.size ~= 0 then
    local made = core.new(kind, shape, true)
    ffi.copy(made._at, shared.bytes + offset, count * kind.size)
    return nans.mend(made)
  end
  C.shared_hold(shared)
  return nans.checked(core.over(kind, shared, offset, shape, core.OF_FILE), options.check)
end

--- What is in memory that is a file.
---@param shared ffi.cdata* struct shared_memory *, whose hold stays the caller's
---@param all? boolean look for NaNs that Lua can't take also in a large .npy
function M.read(path, shared, all)
  local size = tonumber(shared.size)
  local magic = ffi.string(shared.bytes, math.min(6, size))
  if magic == npy.MAGIC then return npy.read(path, shared, 0, size, all) end
  if magic:find "^PK[\3\5]" then return zip.read(path, shared) end
  if magic:find "^P[2356]%s" then return picture.read(path, shared.bytes, size) end
  local advice = magic:find "^\137PNG" and "PNG pictures are only written" or
    'for plain elements say what they are: parlua.load(path, { type = "float", shape = { 480, 640 } })'
  error(("%s: it is no .npy, .npz, PGM or PPM file; %s"):format(path, advice), 0)
end

--- What a terminal would obey, where a message shows what is in a file.
local function escape(character) return ("\\%d"):format(character:byte()) end

--- The arrays of an archive. Whoever asks for an entry that can't be one is told why.
local function with_refused(arrays, reasons)
  for name, why in pairs(reasons) do reasons[name] = why:gsub("%c", escape) end
  return setmetatable(arrays, { __index = function(_, name)
    if reasons[name] then refuse("parlua.load: %s", reasons[name]) end
  end }), reasons
end

--- Loads an array: a .npy file, by mapping it (it is read-only then, and takes no memory of its own); the arrays of
--- an .npz file, by their names; a PGM or PPM picture; or plain elements: { type = "float", shape = { 480, 640 },
--- offset = 0 }. Entries of an .npz file that can't be arrays (Python's objects, texts) raise an error when they are
--- asked for; the second result says why, by their names. Lua can't take some NaNs (their sign is
--- set, and they carry a payload): a file of up to 256 MB is looked through for such, and copied with plain ones if it
--- has any; `check = true` does so for larger ones, too.
---@param path string
---@param options? { type?: string, shape?: integer[], offset?: integer, check?: boolean }
---@return any loaded, table<string, string>? refused
function M.load(path, options)
  check_path("parlua.load", path)
  options = given.options("parlua.load", options, LOAD)
  if options.type == nil and (options.shape ~= nil or options.offset ~= nil) then
    refuse("parlua.load: shape and offset are of plain elements, whose type is to be named, too: type = \"float\"")
  end
  if options.check ~= nil and type(options.check) ~= "boolean" then
    refuse("parlua.load: check must be true or false, got %s", show(options.check))
  end
  local shared = C.shared_map_file(path)
  if shared == nil then
    local number = ffi.errno()
    local why = number == 61 and "it is empty" or number == 29 and "it is no plain file" or host.strerror(number)
    refuse("parlua.load: cannot read '%s': %s", path, why)
  end
  local ok, result, refused
  if options.type ~= nil then
    ok, result = pcall(load_plain, path, shared, options)
  else
    ok, result, refused = pcall(M.read, path, shared, options.check)
  end
  C.shared_drop(shared)
  if ok and refused then return with_refused(result, refused) end
  if ok then return result end
  if type(result) == "string" and not result:find "^[^\n]-:%d+: parlua" then
    refuse("parlua.load: %s", (result:gsub("%c", escape)))
  end
  error(result, 0)
end

-- ---- saving ----

local savers = {}

function savers.npy(_, array, _, write)
  local header, elements = npy.header_of(array)
  elements = core.has(elements, core.CONTIGUOUS) and elements or elements:copy()
  write(header)
  write(elements._at, elements._count * core.kind_of(elements).size)
end

function savers.npz(what, arrays, _, write)
  if core.is(arrays) then arrays = { arr_0 = arrays } end
  zip.write(what, arrays, write)
end

function savers.raw(_, array, _, write)
  array = core.has(array, core.CONTIGUOUS) and array or array:copy()
  write(array._at, array._count * core.kind_of(array).size)
end

savers.bin = savers.raw
savers.pgm, savers.ppm, savers.png = picture.write_pnm, picture.write_pnm, picture.write_png

local FORMATS = "npy, npz, pgm, ppm, png, raw or bin"

--- Raises an error where options of pictures can't be, or are given for other files.
local function check_picture_options(what, path, format, options)
  local is_picture = savers[format] == picture.write_pnm or savers[format] == picture.write_png
  for _, name in ipairs { "low", "high", "bits" } do
    local value = options[name]
    if value ~= nil then
      if not is_picture then
        refuse("%s: %s is an option of pictures (pgm, ppm, png), and '%s' is to be %s", what, name, path, format)
      end
      if name ~= "bits" and (type(value) ~= "number" or value - value ~= 0) then
        refuse("%s: %s must be a finite number, got %s", what, name, show(value))
      end
    end
  end
  if options.low and options.high and options.low >= options.high then
    refuse("%s: low must be less than high, got %s and %s", what, show(options.low), show(options.high))
  end
end

--- Writes a file that gets its name when it is whole: who has the old one mapped keeps it. Devices and pipes are
--- written to directly.
---@param who string for errors
local function write_file(who, path, body)
  local function fail(why) refuse("%s: cannot write '%s': %s", who, path, why) end
  local file, _, reason = outfile.open(path)
  if not file then fail(reason) end
  local function check(done, code)
    if not done then error({ host.strerror(code) }, 0) end
  end
  local ok, trouble = pcall(function()
    body(function(bytes, length) check(file:write(bytes, length or #bytes)) end)
    check(file:publish("", true))
  end)
  local closed, code = file:close()
  if ok and not closed then ok, trouble = false, { host.strerror(code) } end
  if ok then return end
  if type(trouble) == "table" then fail(trouble[1]) end
  refuse("%s: %s", who, trouble)
end

--- Raises an error where it is no table of arrays by names.
local function check_arrays(what)
  for name, array in pairs(what) do
    if type(name) ~= "string" or not core.is(array) then
      refuse("parlua.save: a table of arrays by names is expected; at %s it has %s", show(name), show(array))
    end
    if name:find("\0", 1, true) or #name > zip.LONGEST_NAME then
      refuse("parlua.save: a name in an .npz file has no NUL and at most %d bytes, got %s of %d bytes",
        zip.LONGEST_NAME, show(name), #name)
    end
    core.check_live(array)
  end
end

---@param who string for errors
local function save(who, path, what, options)
  options = given.options(who, options, SAVE)
  check_path(who, path)
  local format = options.format
  if format == nil then format = (path:match "%.(%w+)$" or ""):lower() end
  local saver = savers[format]
  if not saver and options.format ~= nil then
    refuse("%s: the option format is %s, got %s", who, FORMATS, show(format))
  elseif not saver then
    refuse("%s: '%s': the ending of the name, or the option format, says the form: %s", who, path, FORMATS)
  end
  check_picture_options(who, path, format, options)
  if core.is(what) then
    core.check_live(what)
  elseif format ~= "npz" or type(what) ~= "table" or next(what) == nil then
    refuse("parlua.save: an array is expected, or a table of arrays by names for .npz, got %s", show(what))
  else
    check_arrays(what)
  end
  write_file(who, path, function(write) saver(path, what, options, write) end)
end

--- Saves an array, in the form that the name's ending says: .npy, .npz, .pgm, .ppm, .png, or .raw and .bin (the
--- elements alone). Of floating-point numbers in pictures the least becomes black and the largest white, unless `low`
--- and `high` say otherwise; `bits` is 8 or 16. `format` names the form where the ending does not.
---@param path string
---@param options? { format: string, low: number, high: number, bits: integer }
function core.methods.save(self, path, options)
  core.check(self, "save")
  save("a:save", path, self, options)
  return self
end

--- Saves an array, or several as .npz: `parlua.save("all.npz", { x = x, y = y })`.
---@param path string
---@param what parlua.Array|table<string, parlua.Array>
---@param options? table as for a:save
function M.save(path, what, options) save("parlua.save", path, what, options) end

return M
