// What a healer knows of those that it reads from: how much it has asked of each and not got yet, and what clients
// there feel. Among sources that are as good, the least loaded is asked. Pure: time comes in.
#pragma once

#include <map>

#include "base/time.h"
#include "base/types.h"

namespace corelet {

class SourceBook {
  public:
    SourceBook() = default;
    SourceBook(const SourceBook&) = delete;
    SourceBook& operator=(const SourceBook&) = delete;

    // What a source said of its clients, in permille of the usual.
    void told(CoreletId source, u32 strain, Instant now);
    // In reads under way; clients that suffer count like some more.
    [[nodiscard]] u32 load(CoreletId source, Instant now) const;

    // A read under way.
    class Reading {
      public:
        Reading(SourceBook& book, CoreletId source) : book_(book), source_(source) { ++book_.under_way_[source_]; }
        ~Reading() {
            if (--book_.under_way_[source_] == 0) book_.under_way_.erase(source_);
        }
        Reading(const Reading&) = delete;
        Reading& operator=(const Reading&) = delete;

      private:
        SourceBook& book_;
        CoreletId source_;
    };

  private:
    static constexpr Duration k_holds = 3_s;
    static constexpr usize k_sources_max = 4096;
    struct Told {
        u32 strain = 0;
        Instant at;
    };
    std::map<CoreletId, u32> under_way_;
    std::map<CoreletId, Told> told_;
};

}  // namespace corelet
