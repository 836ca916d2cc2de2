// One (space, seq, fragment) names one content on every device and for ever; one segment has one salt, on every
// replica and for ever.
#include "tests/mesh/judges/holdings.h"
#include "tests/mesh/judges/judges.h"

namespace corelet {

namespace {

class NameJudge final : public Judge {
  public:
    explicit NameJudge(Trial& trial) : Judge(trial, "names", 500_ms) {}

    void look() override {
        for (usize i = 0; i < mesh().size(); ++i) {
            if (!mesh().node(i)) continue;
            const Store& store = *mesh().node(i)->services().store;
            for (const FragmentInfo& info : fragments_of(store)) look_at(i, info);
            for (const SegmentInfo& info : store.list_segments()) look_at(i, info);
        }
    }

  private:
    struct Content {
        u64 bytes = 0;
        u32 tag = 0;
        u8 k = 0;
        u8 m = 0;
        friend bool operator==(const Content&, const Content&) = default;
    };

    void look_at(usize index, const FragmentInfo& info) {
        judged();
        Content const content{info.bytes, info.content_tag, info.k, info.m};
        auto const [known, fresh] = contents_.try_emplace(info.id, content);
        if (known->second != content)
            fail(name_of(info.id) + " at " + corelet_name(index) + " is not what it was, or is elsewhere");
    }
    void look_at(usize index, const SegmentInfo& info) {
        auto const [known, fresh] = salts_.try_emplace(info.id, info.salt);
        if (known->second != info.salt)
            fail("segment " + to_string(info.id) + " at " + corelet_name(index) +
                 " has another salt than elsewhere");
    }

    std::map<FragmentId, Content> contents_;
    std::map<SegmentId, u64> salts_;
};

}  // namespace

std::unique_ptr<Judge> make_name_judge(Trial& trial) {
    return std::make_unique<NameJudge>(trial);
}

}  // namespace corelet
