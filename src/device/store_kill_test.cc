// A process that works on a store in a real file is killed again and again. It announces on a pipe what it begins
// and what was acknowledged to it; the next one, made from what was read there, checks the file before it goes on.
#include <gtest/gtest.h>
#include <signal.h>    // host: a test of real processes
#include <sys/wait.h>  // host: a test of real processes
#include <unistd.h>    // host: a test of real processes

#include <filesystem>  // host: a test of real files
#include <sstream>

#include "device/device_testing.h"
#include "os/world.h"

namespace corelet {
namespace {

using namespace corelet::testing;

constexpr u64 k_size = 48 * k_mib;
constexpr u32 k_workers = 6;
SegmentId segment(u64 worker) {
    return {SpaceId(2), worker};
}
FragmentId fragment(u64 seq) {
    return {{SpaceId(1), seq}, 0};
}

// What the pipe told: for each key the value acknowledged last, and the one begun after it.
struct Told {
    std::map<std::string, u64> acknowledged;
    std::map<std::string, u64> begun;
    u64 lines = 0;
    std::vector<std::string> complaints;

    void take(const std::string& line) {
        std::istringstream in(line);
        std::string what, key;
        u64 value = 0;
        in >> what >> key >> value;
        ++lines;
        if (what == "begin")
            begun[key] = value;
        else if (what == "done")
            acknowledged[key] = value;
        else
            complaints.push_back(line);
    }
    [[nodiscard]] u64 least(const std::string& key) const {
        auto const at = acknowledged.find(key);
        return at == acknowledged.end() ? 0 : at->second;
    }
    [[nodiscard]] u64 most(const std::string& key) const {
        auto const at = begun.find(key);
        return std::max(least(key), at == begun.end() ? 0 : at->second);
    }
};

// The child. Each worker has keys of its own, whose values only grow.
class Child {
  public:
    Child(std::string path, const Told& told, int pipe, u64 seed)
        : path_(std::move(path)), told_(told), pipe_(pipe), random_(seed) {}

    [[noreturn]] void live() {
        auto host = os::Host::create();
        if (!host) die("complaint host " + host.error().to_string());
        (*host)->run_until_done(work((*host)->env()));
        ::_exit(0);
    }

  private:
    void say(const std::string& line) {
        std::string const text = line + "\n";
        if (::write(pipe_, text.data(), text.size()) < 0) ::_exit(1);
    }
    [[noreturn]] void die(const std::string& why) {
        say(why);
        ::_exit(1);
    }
    void must(bool good, const std::string& what) {
        if (!good) die("complaint " + what);
    }

    Task<void> work(Env& env) {
        auto file = co_await env.disk.open(path_, {});
        // The kernel holds the killed process's file until its last requests have ended.
        while (!file && file.error().code == Code::kConflict) {
            co_await env.clock.sleep(1_ms);
            file = co_await env.disk.open(path_, {});
        }
        if (!file && file.error().code == Code::kNotFound) {
            OpenOptions create;
            create.create = true;
            create.size_bytes = k_size;
            file = co_await env.disk.open(path_, create);
        }
        if (!file) die("complaint open " + file.error().to_string());
        if (!told_.begun.contains("mounted")) {
            FormatOptions options = small_format();
            options.force = true;
            must((co_await format_device(file->get(), StoreEnv::of(env), options)).has_value(), "format");
        }
        auto mounted = co_await Store::mount(*std::move(file), StoreEnv::of(env), small_store());
        if (!mounted) die("complaint mount " + mounted.error().to_string());
        store_ = *std::move(mounted);
        must(!store_->has_forgotten(), "forgotten: " + store_->forgotten_reason());
        must(!store_->is_failing(), "failing");
        co_await check_consensus();
        for (u64 worker = 1; worker <= k_workers; ++worker) co_await check(worker);
        say("begin mounted 1");
        Scope scope(env.executor);
        for (u64 worker = 1; worker <= k_workers; ++worker) scope.spawn(worker_loop(worker));
        scope.spawn(consensus_loop());
        co_await scope.join();
    }

    [[nodiscard]] static std::string key(const char* kind, u64 worker) { return kind + std::to_string(worker); }

    // Puts are numbered; value n means fragments 1..n of the worker are there, all but those up to `removed`.
    Task<void> check(u64 worker) {
        u64 const put_least = told_.least(key("put", worker)), put_most = told_.most(key("put", worker));
        u64 const removed_least = told_.least(key("removed", worker)),
                  removed_most = told_.most(key("removed", worker));
        for (u64 n = 1; n <= put_most; ++n) {
            FragmentId const id = fragment(worker * 1000 + n);
            auto const info = store_->fragment_info(id);
            must(info || n > put_least || n <= removed_most, "lost fragment " + std::to_string(id.chunk.seq));
            must(!info || n > removed_least, "removed fragment is back " + std::to_string(id.chunk.seq));
            if (!info) continue;
            auto const data = co_await store_->read_fragment(id, 0, info->bytes, {});
            must(data && std::ranges::equal(data->data.flatten().bytes(),
                                            pattern(id.chunk.seq, info->bytes / k_block_bytes).bytes()),
                 "bytes of fragment " + std::to_string(id.chunk.seq));
        }
        // What was under way and did not come to be is begun again; what did is as good as acknowledged.
        bool const is_put = put_most > put_least && store_->fragment_info(fragment(worker * 1000 + put_most));
        put_[worker] = is_put ? put_most : put_least;
        removed_[worker] = removed_least;
        if (removed_most > removed_least && !store_->fragment_info(fragment(worker * 1000 + removed_most)))
            removed_[worker] = removed_most;
        announce("done", key("put", worker), put_[worker]);
        announce("done", key("removed", worker), removed_[worker]);
        auto const entry = store_->segment_info(segment(worker));
        u64 const epoch = entry ? entry->epoch.v : 0;
        must(epoch >= told_.least(key("fence", worker)) && epoch <= told_.most(key("fence", worker)),
             "fence " + std::to_string(epoch));
        for (u64 block = 0; entry && block < told_.least(key("write", worker)); ++block) {
            auto const data = co_await store_->read_segment(segment(worker), block * k_block_bytes, k_block_bytes,
                                                            IoClass::kClient);
            must(data && std::ranges::equal(data->flatten().bytes(), pattern(worker << 32 | block, 1).bytes()),
                 "a record");
        }
        auto const note = store_->note(key("note", worker));
        u64 const number = note ? note->size() : 0;
        must(number >= told_.least(key("note", worker)) && number <= told_.most(key("note", worker)), "note");
    }
    Task<void> check_consensus() {
        u64 last = 0;
        store_->consensus_journal().replay([&](u64 through, Bytes) { last = through; },
                                           [&](u64 number, Bytes) {
                                               must(number == last + 1, "a gap in the consensus journal");
                                               last = number;
                                           });
        must(last >= told_.least("consensus") && last <= told_.most("consensus") + 1,
             "consensus " + std::to_string(last));
        co_return;
    }

    Task<void> worker_loop(u64 worker) {
        SegmentId const id = segment(worker);
        u64 written = told_.most(key("write", worker));
        u64 note = told_.most(key("note", worker));
        for (;;) {
            u64 const dice = random_.below(10);
            auto const entry = store_->segment_info(id);
            if (dice < 3) {
                co_await put(worker);
            } else if (dice == 3 && removed_[worker] < put_[worker]) {
                co_await remove(worker);
            } else if (!entry) {
                announce("begin", key("fence", worker), 5);
                SegmentSpec spec;
                spec.epoch = Epoch(5);
                spec.owner = CoreletId(1);
                must((co_await store_->prepare_segment(id, spec)).has_value(), "prepare");
                announce("done", key("fence", worker), 5);
            } else if (dice < 7 && entry->epoch == Epoch(5) && written < 200) {
                auto const done = co_await store_->write_segment(
                    id, Epoch(5), CoreletId(1), written * k_block_bytes, pattern(worker << 32 | written, 1));
                must(done.has_value(), "write");
                announce("done", key("write", worker), ++written);
            } else if (dice == 7 && written >= 200 && entry->epoch.v < 1000) {
                u64 const epoch = entry->epoch.v + 1;
                announce("begin", key("fence", worker), epoch);
                must((co_await store_->fence_segment(id, Epoch(epoch), CoreletId(2))).has_value(), "fence");
                announce("done", key("fence", worker), epoch);
            } else if (note < 3000) {
                announce("begin", key("note", worker), ++note);
                must((co_await store_->put_note(key("note", worker), std::vector<u8>(note, 1))).has_value(),
                     "note");
                announce("done", key("note", worker), note);
            }
            co_await yield();
        }
    }
    Task<void> put(u64 worker) {
        u64 const n = put_[worker] + 1;
        u64 const seq = worker * 1000 + n;
        announce("begin", key("put", worker), n);
        Buffer const data = pattern(seq, random_.between(1, 30));
        auto done = co_await store_->put_fragment(fragment(seq), {}, data, crcs_of(data), {});
        for (; !done && done.error().code == Code::kNoSpace;
             done = co_await store_->put_fragment(fragment(seq), {}, data, crcs_of(data), {})) {
            if (removed_[worker] + 1 < n) co_await remove(worker);
            co_await yield();
        }
        if (!done) die("complaint put " + done.error().to_string());
        put_[worker] = n;
        announce("done", key("put", worker), n);
    }
    Task<void> remove(u64 worker) {
        u64 const n = removed_[worker] + 1;
        announce("begin", key("removed", worker), n);
        must((co_await store_->remove_fragment(fragment(worker * 1000 + n))).has_value(), "remove");
        removed_[worker] = n;
        announce("done", key("removed", worker), n);
    }
    Task<void> consensus_loop() {
        Journal& log = store_->consensus_journal();
        for (;;) {
            announce("begin", "consensus", log.submitted_number() + 1);
            auto const number = co_await log.append({{1, 2, 3}});
            must(number.has_value(), "consensus append");
            announce("done", "consensus", *number);
            if (log.wants_snapshot()) must((co_await log.snapshot(*number, {9})).has_value(), "consensus snapshot");
        }
    }
    void announce(const char* what, const std::string& key, u64 value) {
        say(std::string(what) + " " + key + " " + std::to_string(value));
    }

    std::string path_;
    const Told& told_;
    int pipe_;
    Prng random_;
    std::unique_ptr<Store> store_;
    std::map<u64, u64> put_, removed_;
};

// Reads lines until `lines` more were read (then kills the child) and on to the end.
void read_and_kill(int pipe, pid_t child, u64 lines, Told* told) {
    std::string rest;
    std::array<char, 4096> some{};
    u64 const enough = told->lines + lines;
    bool killed = false;
    for (;;) {
        ssize_t const got = ::read(pipe, some.data(), some.size());
        if (got <= 0) break;
        rest.append(some.data(), static_cast<usize>(got));
        for (usize end = rest.find('\n'); end != std::string::npos; end = rest.find('\n')) {
            told->take(rest.substr(0, end));
            rest.erase(0, end + 1);
        }
        if (!killed && told->lines >= enough) {
            ::kill(child, SIGKILL);  // host: a test of real processes
            killed = true;
        }
    }
}

TEST(StoreKill, WhatWasAcknowledgedOutlivesTheProcess) {
    std::string directory = (std::filesystem::temp_directory_path() / "corelet-kill-XXXXXX").string();
    ASSERT_NE(::mkdtemp(directory.data()), nullptr);
    Told told;
    Prng draw(11);
    u32 killed = 0;
    for (u32 round = 0; round < 40 && told.complaints.empty(); ++round) {
        std::array<int, 2> pipe{};
        ASSERT_EQ(::pipe(pipe.data()), 0);
        pid_t const child = ::fork();  // host: a test of real processes
        ASSERT_GE(child, 0);
        if (child == 0) {
            ::close(pipe[0]);
            Child(directory + "/device", told, pipe[1], round).live();
        }
        ::close(pipe[1]);
        read_and_kill(pipe[0], child, draw.between(1, 400), &told);
        ::close(pipe[0]);
        int status = 0;
        ASSERT_EQ(::waitpid(child, &status, 0), child);
        killed += WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL ? 1 : 0;
    }
    for (const std::string& complaint : told.complaints) ADD_FAILURE() << complaint;
    EXPECT_EQ(killed, 40U) << "no child ended by itself";
    EXPECT_GT(told.lines, 3000U);
    std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace corelet
