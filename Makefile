# parlua: run Lua functions in parallel.
#
#   make            install what is missing, build ./parlua
#   make demo       the same, then analyse real files of this machine on all cores
#   make test       the same, then run the whole suite
#   make test-ranks what all engines promise on three ranks of four workers (make test: of two)
#   make test-mpich the mpi engine against MPICH, beside the Open MPI that is the default
#   make test-luajit2  the suite with OpenResty's LuaJIT, beside Debian's own that is the default
#   make lint       luacheck, compiler warnings as errors (for aarch64 too), clang-format; `make format` lays out the C code
#   make sanitize   the specs of what is written in C under ASan and UBSan, then the threads engine under TSan
#   make valgrind   memcheck over each engine, some minutes
#   make kill-test  KILLS=200 SEED=: kill the coordinator at random moments, and resume from the journal each time; kill
#                   workers, ranks and scripts that use arrays
#   make fuzz       FUZZ_SECONDS=600: hostile bytes for what decodes messages, under ASan and UBSan
#   make simulate   SIMULATE_SECONDS=60 SEED=: the dispatcher in virtual time, under random faults; a seed repeats a schedule
#   make simulate-ranks  how well a job of up to 10,000 ranks does, in virtual time
#   make soak       SOAK_SECONDS=600: calls of all kinds whose tasks crash, hang, raise; nothing lost, nothing left behind
#   make cluster-test  the mpi engine on three hosts, under Open MPI and under Slurm (as root)
#   make bench      measure parlua beside other tools
#   make install    PREFIX=/usr/local DESTDIR=
#   make docs       the pages and the reference of the interface as HTML, build/html/index.html
#   make deb        a Debian package, build/parlua_VERSION_ARCHITECTURE.deb
#   make package-test  lintian over the package
#   make dist       build/parlua-VERSION.tar.gz, the sources, and one with the program for this kind of machine
#   make clean

PREFIX ?= /usr/local
DESTDIR ?=
CFLAGS ?= -O2 -g
# Builds within a target use all processors, unless make was told how many jobs to run.
JOBS = $(if $(findstring -j,$(MAKEFLAGS)),,-j$(shell nproc))
BUILD ?= build
BINARY ?= parlua
BUSTED ?= busted

VERSION := $(shell sed -n 's/^\#define PARLUA_VERSION "\(.*\)"/\1/p' src/main.c)
# Where it was built from: told by the tarball itself, else by git. Empty: nobody knows.
COMMIT := $(shell cat .commit 2> /dev/null || git rev-parse --short=10 HEAD 2> /dev/null)

WARNINGS = -Wall -Wextra -Wshadow -Wpedantic

# Which LuaJIT: the one that pkg-config finds, or the one below the prefix LUAJIT (make LUAJIT=/opt/luajit2: its headers in
# /opt/luajit2/include/luajit-2.1, its library in /opt/luajit2/lib or in Debian's folder below that).
LUAJIT ?=
comma := ,
LUAJIT_CONFIG_FILE = $(firstword $(wildcard $(LUAJIT)/lib/pkgconfig/luajit.pc $(LUAJIT)/lib/*/pkgconfig/luajit.pc))
LUAJIT_CONFIG = pkg-config $(if $(LUAJIT),--define-variable=prefix=$(abspath $(LUAJIT)) $(LUAJIT_CONFIG_FILE),luajit)
LUAJIT_CFLAGS = $(shell $(LUAJIT_CONFIG) --cflags 2> /dev/null)
ALL_CFLAGS = -std=c11 -D_GNU_SOURCE -Isrc $(WARNINGS) $(CFLAGS) -pthread $(LUAJIT_CFLAGS)

# LuaJIT is linked statically where its archive is found (0.80 ms to start against 0.89 ms, measured), else dynamically.
# All of it goes in and all of it is exported, for the C modules that scripts require and for ffi.C.
LUAJIT_ARCHIVE = $(wildcard $(shell $(LUAJIT_CONFIG) --variable=libdir 2> /dev/null)/libluajit-5.1.a)
LUAJIT_WHOLE = -Wl,--whole-archive $(LUAJIT_ARCHIVE) -Wl,--no-whole-archive
LUAJIT_SHARED = $(shell $(LUAJIT_CONFIG) --libs) $(if $(LUAJIT),-Wl$(comma)-rpath$(comma)$(shell $(LUAJIT_CONFIG) --variable=libdir))
LUAJIT_LIBS = $(if $(LUAJIT_ARCHIVE),$(LUAJIT_WHOLE),$(LUAJIT_SHARED))
LDFLAGS ?=
ALL_LDFLAGS = -pthread -Wl,--export-dynamic $(LDFLAGS)
ALL_LIBS = $(LUAJIT_LIBS) -lm -ldl

# embed.c is a tool of the build; the MPI engine, src/engines/mpi, is a shared object of its own.
SOURCES := $(filter-out src/lua/embed.c,$(wildcard src/*.c src/*/*.c src/lua/codec/*.c))
OBJECTS := $(SOURCES:src/%.c=$(BUILD)/%.o) $(BUILD)/embedded.o
# types.lua is for editors, not for the program.
MODULES := $(filter-out lua/parlua/types.lua,$(sort $(shell find lua -name '*.lua')))
LUA_DIRECTORIES := $(wildcard lua spec spec-cluster examples bench fuzz simulate soak)
C_SOURCES := $(shell find src fuzz simulate spec -name "*.[ch]")

.PHONY: all binary mpi demo docs test test-ranks test-mpich test-luajit2 cluster-test lint sanitize sanitize-address sanitize-leaks sanitize-threads valgrind fuzz simulate simulate-ranks soak kill-test bench install uninstall deb package-test dist clean
.PHONY: lint-lua lint-format lint-c lint-aarch64 without-aarch64 format deps deps-test deps-aarch64 deps-mpich deps-cluster
.PHONY: deps-valgrind deps-package deps-docs deps-lint deps-fuzz deps-bench FORCE
.DELETE_ON_ERROR:

all: deps
	@$(MAKE) --no-print-directory $(JOBS) binary

binary: $(BINARY) mpi

# The MPI engine, beside the binary, where there is a compiler for MPI.
MPICC ?= mpicc
MPI_OBJECT = $(if $(shell command -v $(MPICC)),$(dir $(BINARY))parlua_mpi.so)

# Where the headers of that MPI are, by Open MPI's wrapper or MPICH's.
MPI_INCLUDES = $(filter -I%,$(shell $(MPICC) -show 2> /dev/null))

mpi: $(MPI_OBJECT)
	@$(if $(MPI_OBJECT),:,echo "Without the mpi engine: there is no $(MPICC) (in Debian: openmpi-bin and libopenmpi-dev).")

$(dir $(BINARY))parlua_mpi.so: $(wildcard src/engines/mpi/*.[ch] src/*/*.h)
	$(MPICC) $(ALL_CFLAGS) -fPIC -shared -o $@ $(filter %.c,$^)

$(BINARY): $(OBJECTS)
	$(CC) $(CFLAGS) $(ALL_LDFLAGS) -o $@ $(OBJECTS) $(ALL_LIBS)

$(BUILD)/%.o: src/%.c | $(BUILD)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/embedded.o: $(BUILD)/embedded.c
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# The headers that the Lua side can declare.
FFI_HEADERS = src/slot/block.h src/slot/layout.h src/run/event.h src/run/glimpse.h src/run/pushed.h src/lua/csv.h $(sort $(wildcard src/lua/ffi*.h))

$(BUILD)/embedded.c: $(BUILD)/embed src/lua/rewrite.lua $(FFI_HEADERS) $(BUILD)/modules.list $(MODULES)
	$(BUILD)/embed $@ src/lua/rewrite.lua lua $(FFI_HEADERS) $(MODULES)

# Always built plain: under a sanitizer it would only be slower.
$(BUILD)/embed: src/lua/embed.c | $(BUILD)
	$(CC) -std=c11 -D_GNU_SOURCE $(WARNINGS) -O1 $(LUAJIT_CFLAGS) -o $@ $< $(LUAJIT_LIBS) -lm -ldl

# Changes when a module is added or removed, which the modules' own times don't show.
$(BUILD)/modules.list: FORCE | $(BUILD)
	@echo $(MODULES) | cmp -s - $@ || echo $(MODULES) > $@

$(BUILD):
	@mkdir -p $@

# main.c tells the commit.
$(BUILD)/commit: FORCE | $(BUILD)
	@echo $(COMMIT) | cmp -s - $@ || echo $(COMMIT) > $@

$(BUILD)/main.o: $(BUILD)/commit
$(BUILD)/main.o: ALL_CFLAGS += -DPARLUA_COMMIT='"$(COMMIT)"'

# Loops that are vectors under -O3.
$(BUILD)/lua/array.o $(BUILD)/lua/convolve.o $(BUILD)/lua/nearest.o: ALL_CFLAGS += -O3

-include $(wildcard $(BUILD)/*.d $(BUILD)/*/*.d $(BUILD)/*/*/*.d $(BUILD)/*/*/*/*.d $(BUILD)/*/*/*/*/*.d)

# --- using it ---------------------------------------------------------------------------------------------------------

demo: all
	@echo "The most frequent words of all C headers and licence texts below /usr:"
	./parlua --report $(BUILD)/demo.html examples/wordcount.lua
	@echo; echo "The Mandelbrot set, a row of it a task:"
	./parlua examples/mandelbrot.lua
	@printf '%s\n' "" "How the words were counted (open it in a browser):  file://$(abspath $(BUILD)/demo.html)" "" \
	  "What to try next:" \
	  "  ./parlua                                  a prompt: type Lua, ?parlua.map explains, Tab completes" \
	  "  ./parlua examples/mandelbrot.lua m.png    the picture, large" \
	  "  seq 10 | ./parlua --map 'x * x'           a line of Lua for each line of text" \
	  "  ./parlua --exec 'wc -l {}' *.md           a program for each file" \
	  "  ./parlua --help; less README.md; make docs"

# The suite waits for most of its time: for programs that are to end, terminals, ranks. So some of its files run side by side at any time,
# each in a program of its own; what a file prints comes at its end. Those that take long come early, in turn with others.
SIDE_BY_SIDE = 3
LONG_SPECS = $(wildcard spec/mpi_spec.lua spec/ranks_spec.lua spec/prompt*_spec.lua spec/journal*_spec.lua spec/signals_spec.lua spec/readme_spec.lua \
  spec/failures_spec.lua spec/kept_spec.lua spec/spawn_spec.lua spec/suites_spec.lua)
OTHER_SPECS = $(filter-out $(LONG_SPECS),$(wildcard spec/*_spec.lua))
SPECS = $(subst :, ,$(join $(LONG_SPECS:%=%:),$(OTHER_SPECS)))

test: deps-test all
	@$(MAKE) --no-print-directory suite

.PHONY: suite
suite:
	@rm -rf $(BUILD)/test; mkdir -p $(BUILD)/test
	@$(MAKE) --no-print-directory -k -j$(SIDE_BY_SIDE) --output-sync=target $(SPECS:spec/%_spec.lua=test/%); status=$$?; \
	  awk -f spec/totals.awk $(BUILD)/test/*.log; exit $$status

.PHONY: $(SPECS:spec/%_spec.lua=test/%)
$(SPECS:spec/%_spec.lua=test/%): test/%:
	@echo "$(BUSTED) --lua=./$(BINARY) spec/$*_spec.lua"
	@$(BUSTED) --lua=./$(BINARY) spec/$*_spec.lua > $(BUILD)/test/$*.log 2>&1; status=$$?; cat $(BUILD)/test/$*.log; exit $$status

test-ranks: deps-test all
	SPEC_WORKERS=4 $(BUSTED) --lua=./$(BINARY) --filter=three.ranks spec/ranks_spec.lua

# An MPI engine belongs to the MPI that it was built with, mpiexec included. The programs' names in Debian; the specs of ranks that are
# spawned need one called mpiexec.
test-mpich: deps-test deps-mpich
	@$(MAKE) --no-print-directory binary BUILD=build/mpich BINARY=build/mpich/parlua MPICC=mpicc.mpich
	@mkdir -p build/mpich/bin && ln -sf "$$(command -v mpiexec.mpich)" build/mpich/bin/mpiexec
	PATH="$(CURDIR)/build/mpich/bin:$$PATH" SPEC_MPI=mpich $(BUSTED) --lua=build/mpich/parlua spec/mpi_spec.lua spec/ranks_spec.lua

# OpenResty's LuaJIT can't be installed beside Debian's own, so its packages are only unpacked.
LUAJIT2 = build/luajit2/root

test-luajit2: deps-test $(LUAJIT2)
	@$(MAKE) --no-print-directory $(JOBS) binary BUILD=build/luajit2 BINARY=build/luajit2/parlua LUAJIT=$(LUAJIT2)/usr
	@$(MAKE) --no-print-directory suite BUILD=build/luajit2 BINARY=build/luajit2/parlua LUAJIT=$(LUAJIT2)/usr

$(LUAJIT2):
	mkdir -p build/luajit2/packages && cd build/luajit2/packages && apt-get download -qq libluajit2-5.1-2 libluajit2-5.1-dev
	for package in build/luajit2/packages/*.deb; do dpkg -x $$package $@ || exit 1; done

# Kills the coordinator at so many random moments and resumes each time; SEED repeats a run.
KILLS ?= 200
SEED ?=

kill-test: deps-test all
	./parlua spec/journal_kills.lua $(KILLS) $(SEED)
	./parlua spec/array_kills.lua $(KILLS) $(SEED)

cluster-test: deps-cluster all
	spec-cluster/run

bench: deps-bench all
	./parlua bench/run.lua

# Pages for people and shells, made by the program from the table of its options.
PAGES = $(BUILD)/pages/parlua.1 $(BUILD)/pages/parlua.bash $(BUILD)/pages/_parlua
PAGE_DATE = $(shell sed -n 's/^\#\# .*(\(.*\))$$/\1/p' CHANGELOG.md | head -n 1)

$(BUILD)/pages/parlua.1: docs/package/manual.lua docs/package/common.lua CHANGELOG.md | all
	@mkdir -p $(@D)
	./parlua docs/package/manual.lua "$$(LC_ALL=C date -d '$(PAGE_DATE)' '+%B %-d, %Y')" > $@

$(BUILD)/pages/parlua.bash: docs/package/completion.lua docs/package/common.lua | all
	@mkdir -p $(@D)
	./parlua docs/package/completion.lua bash > $@

$(BUILD)/pages/_parlua: docs/package/completion.lua docs/package/common.lua | all
	@mkdir -p $(@D)
	./parlua docs/package/completion.lua zsh > $@

$(PAGES): $(wildcard lua/parlua/options.lua lua/parlua/options/*.lua)

SHARE = $(DESTDIR)$(PREFIX)/share
# Where zsh looks: packages have a folder of their own.
ZSH_FUNCTIONS = $(SHARE)/zsh/$(if $(filter /usr,$(PREFIX)),vendor-completions,site-functions)

install: all $(PAGES)
	install -D -m 755 parlua $(DESTDIR)$(PREFIX)/bin/parlua
	test ! -e parlua_mpi.so || install -D -m 644 parlua_mpi.so $(DESTDIR)$(PREFIX)/lib/parlua/parlua_mpi.so
	install -D -m 644 lua/parlua/types.lua $(SHARE)/parlua/parlua.lua
	install -d $(SHARE)/man/man1 && gzip -9nc $(BUILD)/pages/parlua.1 > $(SHARE)/man/man1/parlua.1.gz
	install -D -m 644 $(BUILD)/pages/parlua.bash $(SHARE)/bash-completion/completions/parlua
	install -D -m 644 $(BUILD)/pages/_parlua $(ZSH_FUNCTIONS)/_parlua

uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/parlua $(DESTDIR)$(PREFIX)/lib/parlua/parlua_mpi.so $(SHARE)/parlua/parlua.lua
	rm -f $(SHARE)/man/man1/parlua.1.gz $(SHARE)/bash-completion/completions/parlua $(ZSH_FUNCTIONS)/_parlua

# The reference is made by LDoc of what editors are given, lua/parlua/types.lua, which docs/package/reference.lua translates.
docs: deps-docs all
	@rm -rf build/html && mkdir -p build/html build/reference
	./parlua docs/package/reference.lua > build/reference/parlua.lua
	ldoc -q -c docs/package/config.ld .
	./parlua docs/package/pages.lua build/html README.md $(sort $(wildcard docs/*.md))
	@cp docs/*.svg $(wildcard docs/*.png) build/html
	@echo "build/html/index.html"

deb: all
	docs/package/deb.sh $(VERSION) $(BUILD)/parlua_$(VERSION)_$$(dpkg --print-architecture).deb

# What Debian's own checker and zsh say of what is packaged, and whether the tarball of the sources builds where it is unpacked.
package-test: deps-package deb dist $(PAGES)
	lintian --fail-on error --allow-root $(BUILD)/parlua_$(VERSION)_$$(dpkg --print-architecture).deb
	zsh -fn $(BUILD)/pages/_parlua
	rm -rf $(BUILD)/unpacked && mkdir -p $(BUILD)/unpacked && tar -C $(BUILD)/unpacked -xzf $(BUILD)/$(DIST).tar.gz
	env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS $(MAKE) -s -C $(BUILD)/unpacked/$(DIST) $(JOBS) binary
	test "$$($(BUILD)/unpacked/$(DIST)/parlua --version)" = "$$(./parlua --version)"
	@echo "package-test: nothing found"

DIST = parlua-$(VERSION)
DIST_FOLDER = $(BUILD)

dist: all
	git archive --format=tar.gz --prefix=$(DIST)/ --add-virtual-file=$(DIST)/.commit:$(COMMIT) -o $(DIST_FOLDER)/$(DIST).tar.gz HEAD
	rm -rf $(BUILD)/dist && $(MAKE) --no-print-directory -s install PREFIX=/$(DIST) DESTDIR=$(BUILD)/dist
	install -m 644 README.md LICENSE CHANGELOG.md $(BUILD)/dist/$(DIST)
	tar -C $(BUILD)/dist --owner=0 --group=0 -czf $(DIST_FOLDER)/$(DIST)-linux-$$(uname -m).tar.gz $(DIST)
	@ls -l $(DIST_FOLDER)/$(DIST)*.tar.gz

clean:
	rm -rf build parlua parlua_mpi.so

# --- checking it ------------------------------------------------------------------------------------------------------

AARCH64_CC ?= aarch64-linux-gnu-gcc

lint: lint-lua lint-format lint-c $(if $(shell command -v $(AARCH64_CC)),lint-aarch64,without-aarch64)

lint-lua: deps-lint
	luacheck --quiet $(LUA_DIRECTORIES)

lint-format: deps-lint
	clang-format --dry-run -Werror $(C_SOURCES)

lint-c: deps
	@$(MAKE) --no-print-directory $(JOBS) binary BUILD=build/lint BINARY=build/lint/parlua CFLAGS='-O2 -Werror'

# All of it for aarch64 too, the MPI engine where there are an MPI's headers (which are the same there).
AARCH64_FLAGS = -std=c11 -D_GNU_SOURCE -Isrc $(WARNINGS) -Werror -O2 -pthread $(LUAJIT_CFLAGS)
AARCH64_SOURCES = $(SOURCES) $(if $(MPI_OBJECT),$(wildcard src/engines/mpi/*.c))

lint-aarch64: deps-aarch64
	@printf '%s\n' $(AARCH64_SOURCES) | \
	  xargs -P "$$(nproc)" -n 1 $(AARCH64_CC) $(AARCH64_FLAGS) $(MPI_INCLUDES) -c -o /dev/null
	@echo "aarch64: $(words $(AARCH64_SOURCES)) files compile without warnings"

without-aarch64:
	@echo "lint: not for aarch64, as there is no $(AARCH64_CC); make lint-aarch64 installs it"

# Lays out the C code as lint wants it.
format: deps-lint
	clang-format -i $(C_SOURCES)

ASAN = -fsanitize=address,undefined -fno-sanitize-recover=undefined
# Errors of Lua unwind C frames; with -fexceptions TSan is told, else its own stack of calls overflows.
TSAN = -fsanitize=thread -fexceptions
# Leaks are looked for in the specs that end all that they begin: a program that calls os.exit, or leaves a thread behind that can't be
# ended, keeps memory that only Lua values point to, where LeakSanitizer does not look. So does a thread that is still busy with a line of
# 2 GB at the end, as on a slow machine: that test is not among them.
LEAK_SPECS = $(patsubst %,spec/%_spec.lua,codec each imap map sources text)
# Other specs of what is written in C: all of the suite would take a quarter of an hour under ASan.
ASAN_SPECS = $(patsubst %,spec/%_spec.lua,array array_engines array_files core csv damage exec failures files graphs halts lookout output pool \
  process property reduce rows threads)
# Those that run tasks in threads, but for signals: TSan holds them back while LuaJIT's compiled code runs.
THREADS_SPECS = $(patsubst %,spec/%_spec.lua,core each exec imap map output pool future reduce)

# TSan counts what lies in parlua's own C. Where one side of a race is LuaJIT's compiled code it can't restore the stack, nor see
# what orders it; such reports are listed, and stay in build/tsan.
sanitize: sanitize-address sanitize-leaks sanitize-threads

sanitize-address: deps-test asan
	@ASAN_OPTIONS=detect_leaks=0 $(MAKE) --no-print-directory suite BUILD=build/asan BINARY=build/asan/parlua SPECS='$(ASAN_SPECS)' SIDE_BY_SIDE=2

sanitize-leaks: deps-test asan
	LSAN_OPTIONS=suppressions=$(CURDIR)/.lsan.supp:print_suppressions=0 $(BUSTED) --lua=build/asan/parlua \
	  --filter-out=too.long.for.a.string $(LEAK_SPECS)

.PHONY: asan
asan:
	@$(MAKE) --no-print-directory $(JOBS) binary BUILD=build/asan BINARY=build/asan/parlua MPICC= CFLAGS='-O1 -g -fno-omit-frame-pointer $(ASAN)'

# Tasks of specs raise SIGSEGV: it is left to them, and ends the program if it is a real one.
sanitize-threads: deps-test
	@$(MAKE) --no-print-directory $(JOBS) binary BUILD=build/tsan BINARY=build/tsan/parlua MPICC= CFLAGS='-O1 -g -fno-omit-frame-pointer $(TSAN)'
	rm -f build/tsan/report.*
	@TSAN_OPTIONS='suppressions=$(CURDIR)/.tsan.supp exitcode=0 handle_segv=0 log_path=$(CURDIR)/build/tsan/report' SPEC_ENGINES=threads \
	  $(MAKE) --no-print-directory suite BUILD=build/tsan BINARY=build/tsan/parlua SPECS='$(THREADS_SPECS)' SIDE_BY_SIDE=2
	@cat build/tsan/report.* 2> /dev/null | grep "SUMMARY: ThreadSanitizer" | sort | uniq -c; \
	! cat build/tsan/report.* 2> /dev/null | grep -q "SUMMARY: ThreadSanitizer: .* src/"

# Memcheck over each engine's C code, LuaJIT's compiler being on. A worker that is a process writes to a log of its own, and an empty one
# says that nothing was found. (valgrind's lines about system calls that it does not know begin otherwise: those are done without.)
valgrind: deps-valgrind all
	@rm -rf build/valgrind; mkdir -p build/valgrind
	@for engine in serial threads process; do \
	  echo "valgrind: $$engine"; \
	  timeout -k 10 600 valgrind -q --error-exitcode=99 --leak-check=no --log-file=build/valgrind/$$engine.%p.log \
	    ./parlua --engine $$engine -n 2 spec/memcheck.lua > build/valgrind/$$engine.out || \
	    { tail -n 3 build/valgrind/$$engine.out; cat build/valgrind/$$engine.*.log; exit 1; }; \
	done
	@! grep -h "^==" build/valgrind/*.log
	@echo "valgrind: nothing found"

# Fuzz targets, each in fuzz/NAME.c and linked with all of parlua but its main. Findings stay in build/fuzz.
FUZZ_TARGETS = codec slot array csv
FUZZ_WRAP_codec = -Wl,--wrap=luaL_loadbufferx
FUZZ_WRAP_slot = -Wl,--wrap=luaL_loadbufferx,--wrap=engine_find
FUZZ_SECONDS ?= 600
FUZZ_BINARIES = $(FUZZ_TARGETS:%=$(BUILD)/fuzz-%)

fuzz: deps-fuzz
	@$(MAKE) --no-print-directory fuzz-binaries BUILD=build/fuzz CC=clang CFLAGS='-O1 -g -fno-omit-frame-pointer -fsanitize=fuzzer-no-link $(ASAN)'
	@fuzz/run.sh build/fuzz $(FUZZ_SECONDS) $(FUZZ_TARGETS)

.PHONY: fuzz-binaries
fuzz-binaries: $(FUZZ_BINARIES)

$(BUILD)/fuzz-%: fuzz/%.c $(OBJECTS)
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -fsanitize=fuzzer $(FUZZ_WRAP_$*) -o $@ $< $(filter-out $(BUILD)/main.o,$(OBJECTS)) $(ALL_LIBS)

# The simulation links the files that ship; src/sys in virtual time takes the place of three of them. Where the two sides of a slot meet,
# each atomic access gives the other a turn (simulate/interleave.h). The linker gives it malloc and the system calls that wake and sleep.
SIMULATE_SECONDS ?= 60
SIMULATE_REPLACED = main sys/clock sys/hub sys/barrier
SIMULATE_OBJECTS = $(filter-out $(SIMULATE_REPLACED:%=$(BUILD)/%.o),$(OBJECTS)) $(patsubst %.c,$(BUILD)/%.o,$(wildcard simulate/*.c)) \
  $(BUILD)/simulate/shipped_hub.o
SIMULATE_WRAPPED = malloc calloc realloc free fstat write syscall sched_yield _exit slot_map slot_unmap slot_set_limit slot_cut slot_revoke slot_is_queued slot_present signals_begin \
  signals_end signals_pending engine_find engine_kinds nanosleep
INTERLEAVED = $(filter $(BUILD)/run/%.o $(BUILD)/slot/%.o $(BUILD)/engines/%.o $(BUILD)/sys/bell.o,$(OBJECTS))

simulate: deps
	@$(MAKE) --no-print-directory $(JOBS) build/simulate/simulation BUILD=build/simulate BINARY=build/simulate/parlua
	@$(MAKE) --no-print-directory $(JOBS) build/ranks/simulation
	@build/simulate/simulation $$(($(SIMULATE_SECONDS) * 3 / 4)) $(SEED)
	@build/ranks/simulation $$(($(SIMULATE_SECONDS) / 4)) $(SEED)

# How well a job of up to 640,000 workers does: the table of docs/MPI.md. Some minutes, and 6 GB of memory.
simulate-ranks: deps
	@$(MAKE) --no-print-directory $(JOBS) build/ranks/simulation
	@build/ranks/simulation measure

build/simulate/simulation: $(SIMULATE_OBJECTS)
	$(CC) $(CFLAGS) $(ALL_LDFLAGS) $(SIMULATE_WRAPPED:%=-Wl,--wrap=%) -o $@ $^ $(ALL_LIBS)

# The ranks of an MPI job (simulate/ranks): the dispatcher and src/engines/mpi as they ship, over a network in virtual time.
RANKS = build/ranks
RANKS_WRAPPED = malloc calloc realloc free fstat write sched_yield _exit nanosleep kill signal signals_begin signals_end signals_pending signals_count \
  dispatch_next
RANKS_OBJECTS = $(patsubst %.c,$(RANKS)/%.o,$(wildcard src/run/*.c) src/engines/engine.c \
  $(addprefix src/engines/mpi/,agent.c folding.c lane_rank.c mpi.c report.c share.c team.c transport.c tree.c) src/slot/slot.c $(addprefix src/sys/,bell.c buffer.c cores.c huge.c large.c lent.c signals.c) \
  $(addprefix simulate/,attending.c contents.c driver.c hub.c ideal.c inside.c lanes.c ledger.c main.c memory.c peeks.c plan.c switch.c world.c) $(wildcard simulate/ranks/*.c))

build/ranks/simulation: $(RANKS_OBJECTS)
	$(CC) $(CFLAGS) $(RANKS_WRAPPED:%=-Wl,--wrap=%) -o $@ $^ -lm

$(RANKS)/%.o: %.c | $(BUILD)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -Isimulate/ranks -Isimulate -MMD -MP -c -o $@ $<

# The hub that ships, beside that in virtual time: simulate/meet.c lets both sides of it meet.
$(BUILD)/simulate/shipped_hub.o: src/sys/hub.c | $(BUILD)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -Isimulate -include simulate/interleave.h -include simulate/shipped_hub.h -MMD -MP -c -o $@ $<

$(BUILD)/simulate/%.o: simulate/%.c | $(BUILD)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -Isimulate -MMD -MP -c -o $@ $<

ifeq ($(BUILD),build/simulate)
$(INTERLEAVED): ALL_CFLAGS += -include simulate/interleave.h
endif

soak: deps-test all
	@./parlua soak/soak.lua

# --- what it needs ----------------------------------------------------------------------------------------------------

# Shell functions of the deps targets. `need PACKAGE TEST...` notes the package as missing when the test fails;
# `library FILE` tests that the compiler finds a library.
define DEPS_FUNCTIONS
missing=; \
need() { package=$$1; shift; "$$@" > /dev/null 2>&1 || missing="$$missing $$package"; }; \
library() { test "$$($(CC) -print-file-name=$$1)" != "$$1"; };
endef

# Installs what `need` found missing: says what, and stops where it can't.
define DEPS_INSTALL
test -z "$$missing" && exit 0; \
if ! command -v apt-get > /dev/null; then \
  echo "parlua needs (by their names in Debian):$$missing" >&2; \
  echo "There is no apt-get here: install them with this system's own package manager, then run make again." >&2; exit 1; \
fi; \
root=; \
if [ "$$(id -u)" != 0 ]; then \
  if ! command -v sudo > /dev/null; then \
    echo "parlua needs$$missing. As root, run: apt-get install --no-install-recommends$$missing" >&2; exit 1; \
  fi; \
  root=sudo; \
fi; \
echo "Installing Debian packages:$$missing"; \
fetch() { $$root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$missing > /dev/null; }; \
update() { $$root apt-get update -qq; }; \
{ apt-cache show $$missing > /dev/null 2>&1 || update; } && { fetch || { update && fetch; }; }
endef

deps:
	@$(DEPS_FUNCTIONS) \
	need gcc command -v $(CC); \
	need libc6-dev library crt1.o; \
	need pkg-config command -v pkg-config; \
	if test -n "$(LUAJIT)" && ! test -e "$(LUAJIT_CONFIG_FILE)"; then \
	  echo "LUAJIT=$(LUAJIT): there is neither lib/pkgconfig/luajit.pc nor lib/*/pkgconfig/luajit.pc below it." >&2; exit 1; \
	fi; \
	need libluajit-5.1-dev $(LUAJIT_CONFIG) --exists; \
	need libedit2 library libedit.so.2; \
	need libsqlite3-0 library libsqlite3.so.0; \
	$(DEPS_INSTALL)

deps-test: deps
	@$(DEPS_FUNCTIONS) \
	need lua-busted command -v $(BUSTED); \
	need lua-cqueues sh -c "ls /usr/lib/*/lua/5.1/_cqueues.so"; \
	need lua-cjson sh -c "ls /usr/lib/*/lua/5.1/cjson.so"; \
	need openmpi-bin command -v mpirun; \
	need libopenmpi-dev command -v $(MPICC); \
	need sqlite3 command -v sqlite3; \
	need zstd command -v zstd; \
	need xz-utils command -v xz; \
	need tmux command -v tmux; \
	need python3-numpy /usr/bin/python3 -c 'import importlib.util, sys; sys.exit(not importlib.util.find_spec("numpy"))'; \
	need mandoc command -v mandoc; \
	need lua-ldoc command -v ldoc; \
	need cmark-gfm command -v cmark-gfm; \
	$(DEPS_INSTALL)
	@$(DEPS_FUNCTIONS) \
	need zsh command -v zsh; \
	need lua-http sh -c "ls /usr/share/lua/5.1/http/request.lua"; \
	need lintian command -v lintian; \
	( $(DEPS_INSTALL) ) || echo "The suite goes without$$missing."

# A compiler for aarch64, and what runs its programs.
deps-aarch64: deps
	@$(DEPS_FUNCTIONS) \
	need gcc-aarch64-linux-gnu command -v $(AARCH64_CC); \
	need libc6-dev-arm64-cross test -e /usr/aarch64-linux-gnu/lib/libc.a; \
	need qemu-user command -v qemu-aarch64; \
	$(DEPS_INSTALL)

deps-valgrind: deps-test
	@$(DEPS_FUNCTIONS) \
	need valgrind command -v valgrind; \
	$(DEPS_INSTALL)

deps-cluster: deps-test
	@$(DEPS_FUNCTIONS) \
	need iproute2 command -v ip; \
	need util-linux command -v nsenter; \
	need slurm-wlm command -v slurmctld; \
	need munge command -v munged; \
	$(DEPS_INSTALL)

deps-mpich:
	@$(DEPS_FUNCTIONS) \
	need mpich command -v mpiexec.mpich; \
	need libmpich-dev command -v mpicc.mpich; \
	$(DEPS_INSTALL)

deps-package: deps-test
	@$(DEPS_FUNCTIONS) \
	need lintian command -v lintian; \
	need zsh command -v zsh; \
	$(DEPS_INSTALL)

deps-docs: deps
	@$(DEPS_FUNCTIONS) \
	need lua-ldoc command -v ldoc; \
	need cmark-gfm command -v cmark-gfm; \
	$(DEPS_INSTALL)

deps-lint: deps
	@$(DEPS_FUNCTIONS) \
	need lua-check command -v luacheck; \
	need clang-format command -v clang-format; \
	$(DEPS_INSTALL)

deps-fuzz: deps
	@$(DEPS_FUNCTIONS) \
	need clang command -v clang; \
	need libclang-rt-14-dev sh -c 'test -e "$$(clang -print-file-name=lib/linux/libclang_rt.fuzzer-$$(uname -m).a)"'; \
	$(DEPS_INSTALL)

# DuckDB is measured beside parlua where npm can fetch it.
$(BUILD)/duckdb/node_modules:
	@if command -v npm > /dev/null; then mkdir -p $(BUILD)/duckdb; \
	npm install --prefix $(BUILD)/duckdb --no-audit --no-fund --silent @duckdb/node-api || echo "The bench goes without DuckDB."; \
	else echo "The bench goes without DuckDB: there is no npm (in Debian: npm)."; fi

# Python is the system's own, for which the packages are: another one may come first in PATH.
deps-bench: deps $(BUILD)/duckdb/node_modules
	@$(DEPS_FUNCTIONS) \
	need gcc command -v gcc; \
	need luajit command -v luajit; \
	need lua-cjson sh -c "ls /usr/lib/*/lua/5.1/cjson.so"; \
	need python3 test -x /usr/bin/python3; \
	need python3-joblib /usr/bin/python3 -c 'import importlib.util, sys; sys.exit(not importlib.util.find_spec("joblib"))'; \
	need python3-numpy /usr/bin/python3 -c 'import importlib.util, sys; sys.exit(not importlib.util.find_spec("numpy"))'; \
	need python3-scipy /usr/bin/python3 -c 'import importlib.util, sys; sys.exit(not importlib.util.find_spec("scipy"))'; \
	need python3-aiohttp /usr/bin/python3 -c 'import importlib.util, sys; sys.exit(not importlib.util.find_spec("aiohttp"))'; \
	need openmpi-bin command -v mpirun; \
	need libopenmpi-dev command -v $(MPICC); \
	need python3-mpi4py /usr/bin/python3 -c 'import importlib.util, sys; sys.exit(not importlib.util.find_spec("mpi4py"))'; \
	need parallel command -v parallel; \
	need mawk command -v mawk; \
	need time test -x /usr/bin/time; \
	need valgrind command -v valgrind; \
	$(DEPS_INSTALL)
