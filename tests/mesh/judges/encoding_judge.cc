// At the end, when all is whole: the fragments of each chunk that is referred to verify and are one code word.
#include "ec/codec.h"
#include "tests/mesh/judges/holdings.h"
#include "tests/mesh/judges/judges.h"

namespace corelet {

namespace {

constexpr Duration k_whole_within = 15_s;
constexpr usize k_chunks_max = 24;  // looked at in a run

class EncodingJudge final : public Judge {
  public:
    explicit EncodingJudge(Trial& trial) : Judge(trial, "encoding"), random_(world().fork("encoding judge")) {}

    void at_end() override {
        auto const live = live_chunks_of(mesh(), trial().volumes);
        std::vector<ChunkId> chunks(live.begin(), live.end());
        random_.shuffle(chunks);
        if (chunks.size() > k_chunks_max) chunks.resize(k_chunks_max);
        for (ChunkId id : chunks)
            if (!world().failed()) check(id);
    }

  private:
    void check(ChunkId id) {
        std::vector<Buffer> fragments;
        usize k = 1, width = 1;
        for (usize position = 0; position < width; ++position) {
            FragmentId const name{id, static_cast<u8>(position)};
            std::string const what = name_of(name);
            // What was put while somebody was away is made whole in the next round of healing.
            (void)world().run_until([&] { return find_fragment(mesh(), name).has_value(); }, k_whole_within);
            auto const found = find_fragment(mesh(), name);
            // The world runs on meanwhile: what was referred to when the list was made may be gone.
            if (!live_chunks_of(mesh(), trial().volumes).contains(id)) return;
            if (!found) return fail(what + " is nowhere though the mesh is whole");
            auto const& [holder, info] = *found;
            k = info.k;
            width = usize{info.k} + info.m;
            auto read = world().run(
                mesh().machine(holder),
                mesh().node(holder)->services().store->read_fragment(name, 0, info.bytes, ReadOptions{}), 20_s);
            if (!read || !*read)
                return fail(what + " at " + corelet_name(holder) +
                            " cannot be read: " + (read ? read->error().to_string() : "no answer"));
            fragments.push_back((*read)->data.flatten());
        }
        judged();
        if (!is_code_word(fragments, static_cast<unsigned>(k)))
            fail("the fragments of " + to_string(id) + " are no code word");
    }

    // Shorter ones end in zeros that are not stored.
    [[nodiscard]] static bool is_code_word(const std::vector<Buffer>& fragments, unsigned k) {
        usize longest = 0;
        for (const Buffer& fragment : fragments) longest = std::max(longest, fragment.size());
        std::vector<Buffer> padded;
        std::vector<Bytes> word;
        for (const Buffer& fragment : fragments) {
            padded.push_back(Buffer::allocate(longest));
            std::memset(padded.back().mutable_data(), 0, longest);
            std::memcpy(padded.back().mutable_data(), fragment.bytes().data(), fragment.size());
            word.push_back(padded.back().bytes());
        }
        if (k == 1)
            return std::ranges::all_of(word, [&](Bytes copy) { return std::ranges::equal(copy, word.front()); });
        auto const codec = ec::Codec::make(k, static_cast<unsigned>(word.size()) - k);
        return codec && codec->consistent(word);
    }

    Prng random_;
};

}  // namespace

std::unique_ptr<Judge> make_encoding_judge(Trial& trial) {
    return std::make_unique<EncodingJudge>(trial);
}

}  // namespace corelet
