// What a reader knows of the corelets it reads from: how long their answers usually take, and which of them are not
// to be waited for now. And how many reads it may send twice. Pure: time comes in, nothing is drawn.
#pragma once

#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "base/time.h"

namespace corelet {

// How long something took lately, in quarter octaves from 64 us to 16 s: what is old counts for less and less (the
// device's LatencyHistogram never forgets).
class RecentLatency {
  public:
    void add(Duration took);
    // 95 of 100 took no longer; rounded up to the edge of its bucket, 19 % at most. Zero before the first.
    [[nodiscard]] Duration p95() const;
    [[nodiscard]] u32 count() const { return total_; }

  private:
    static constexpr usize k_buckets = 72;
    static constexpr u32 k_halve_at = 512;
    [[nodiscard]] static usize bucket_of(Duration took);
    [[nodiscard]] static Duration upper_edge(usize bucket);
    std::array<u16, k_buckets> counts_{};
    u32 total_ = 0;
};

class PeerBook {
  public:
    struct Options {
        Duration least = 2_ms;     // nobody is hurried more than this
        Duration unknown = 20_ms;  // patience with one that was never asked
        Duration most = 500_ms;    // no answer for so long is a failure
        Duration silence = 50_ms;  // the least for which one that owes answers and gives none is still waited for
        Duration suspect_least = 250_ms;
        Duration suspect_most = 4_s;
        Duration probe = 250_ms;  // one reader at a time finds out whether it is back
    };
    explicit PeerBook(Options options) : options_(options) {}
    PeerBook(const PeerBook&) = delete;
    PeerBook& operator=(const PeerBook&) = delete;

    // How long to wait for an answer of `bytes` before somebody else is asked too: its p95, at least 2 ms, at most
    // 500 ms. With a slow one no longer than with others: it would always have as long as it takes.
    [[nodiscard]] Duration patience(CoreletId peer, u64 bytes) const;
    // Whose devices the mesh holds to be slow: others are asked first, where there is a choice.
    void set_slow(std::set<CoreletId> slow) { slow_ = std::move(slow); }
    [[nodiscard]] bool is_slow(CoreletId peer) const { return slow_.contains(peer); }
    // It failed lately, or owes answers and has given none for longer than it ever takes: others first.
    [[nodiscard]] bool is_suspect(CoreletId peer, Instant now) const;
    // True if it is to be asked as usual. Of one whose time as a suspect is over, the first caller is told so, the
    // others not until that one had time for an answer.
    [[nodiscard]] bool try_now(CoreletId peer, Instant now);

    // A question under way. Destroyed without a word about its end (its asker was dropped), it tells nothing.
    class Question {
      public:
        Question(PeerBook& book, CoreletId peer, u64 bytes, Instant now);
        ~Question();
        Question(const Question&) = delete;
        Question& operator=(const Question&) = delete;
        void answered(Instant now);
        // The connection broke or could not be made, or no answer came in time.
        void failed(Instant now);

      private:
        PeerBook& book_;
        CoreletId peer_;
        u64 bytes_;
        Instant asked_;
    };

  private:
    static constexpr usize k_peers_max = 4096;
    static constexpr usize k_sizes = 2;  // small answers, large ones
    struct Peer {
        std::array<RecentLatency, k_sizes> took;
        u32 failures = 0;
        Instant suspect_until{};
        u32 questions = 0;       // under way
        Instant silent_since{};  // while there are any: the last answer, or the first of them
    };
    [[nodiscard]] static usize size_class(u64 bytes) { return bytes <= 128 * k_kib ? 0 : 1; }
    [[nodiscard]] bool is_silent(const Peer& peer, Instant now) const;
    [[nodiscard]] Peer& peer(CoreletId id);
    // The middle one of what those that are not slow take; zero if none was asked.
    [[nodiscard]] Duration usual(usize size) const;
    Options options_;
    std::map<CoreletId, Peer> peers_;
    std::set<CoreletId> slow_;
};

// Reads that may be sent twice: one for twenty-five, and a few at once.
class HedgeBudget {
  public:
    static constexpr u32 k_reads_each = 25;
    void read_begins() { earned_ = std::min(earned_ + 1, k_earned_max); }
    [[nodiscard]] bool take() {
        if (earned_ < k_reads_each) return false;
        earned_ -= k_reads_each;
        return true;
    }

  private:
    static constexpr u32 k_earned_max = 16 * k_reads_each;
    u32 earned_ = k_earned_max;
};

}  // namespace corelet
