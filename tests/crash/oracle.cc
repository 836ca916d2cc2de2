#include "tests/crash/oracle.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/hash.h"
#include "device/device_testing.h"

namespace corelet::testing {

struct Oracle::Findings {
    std::string text;
    void operator()(std::string what) { text += std::move(what) + "\n"; }
};

u64 Oracle::highest(const Marks& marks, Moment moment) {
    u64 best = 0;
    for (const auto& [since, value] : marks)
        if (since < moment) best = std::max(best, value);
    return best;
}

Buffer Oracle::segment_block(SegmentId id, u64 block) {
    return pattern(hash64(id.seq, block), 1);
}
std::vector<u8> Oracle::consensus_record(u64 number) {
    return std::vector<u8>(8 + number % 600, static_cast<u8>(number));
}

const Buffer& Oracle::content(const FragmentId& id, const FragmentState& state) const {
    auto const [at, fresh] = contents_.try_emplace({state.seed, state.blocks, state.adopted});
    if (!fresh) return at->second;
    if (!state.adopted) return at->second = pattern(state.seed, state.blocks);
    BufferChain data;
    for (u64 b = 0; b < state.blocks; ++b) data.append(segment_block(id.chunk, b));
    return at->second = data.flatten();
}

Task<std::string> Oracle::check(Store* store, Moment moment, u64 more) const {
    Findings out;
    check_identity(store, moment, &out);
    co_await check_fragments(store, moment, &out);
    co_await check_segments(store, moment, &out);
    check_adoptions(store, moment, &out);
    check_notes(store, moment, &out);
    check_consensus(store, moment, more, &out);
    co_return std::move(out.text);
}

Task<std::string> Oracle::check_after_rot(Store* store, Moment moment) const {
    if (store->has_forgotten()) co_return "";
    Findings out;
    co_await check_fragments(store, moment, &out);
    co_await check_segments(store, moment, &out);
    check_adoptions(store, moment, &out);
    check_notes(store, moment, &out);
    // The half before the newest snapshot may serve in its place, as long as it has all records since.
    if (!store->consensus_journal().is_rotten()) check_records(store, moment, 0, &out);
    co_return std::move(out.text);
}

void Oracle::check_identity(Store* store, Moment moment, Findings* out) const {
    if (store->has_forgotten()) (*out)("forgotten: " + store->forgotten_reason());
    if (store->is_failing()) (*out)("failing: " + store->failure());
    if (store->metadata_report().condition == JournalCondition::kRotten)
        (*out)("the metadata journal is called rotten: " + store->metadata_report().what);
    if (store->consensus_journal().is_rotten())
        (*out)("the consensus journal is called rotten: " + store->consensus_journal().report().what);
    if (store->incarnation().v <= highest(incarnations, moment)) (*out)("the incarnation did not rise");
    if (store->durable_seq() < highest(sequence_numbers, moment)) (*out)("the durable number went back");
}

Task<void> Oracle::check_fragments(Store* store, Moment moment, Findings* out) const {
    for (const FragmentInfo& info : store->list_fragments(std::nullopt, 100'000))
        if (info.id.chunk.space != k_afterwards && !fragments.contains(info.id))
            (*out)("a fragment that nobody put: " + to_string(info.id.chunk));
    for (const auto& [id, history] : fragments) {
        std::string const who = "fragment " + to_string(id.chunk);
        MaybeFragment seen;
        if (auto const info = store->fragment_info(id)) {
            seen = FragmentState{0, info->bytes / k_block_bytes, info->quarantined, info->adopted};
            auto const data = co_await store->read_fragment(id, 0, info->bytes, {});
            if (!data) {
                (*out)(who + " is listed and does not read: " + data.error().to_string());
                continue;
            }
            // It is the one whose bytes it holds.
            Buffer const bytes = data->data.flatten();
            for (const MaybeFragment& one : history.possible(moment)) {
                if (!one || one->blocks != seen->blocks || one->adopted != seen->adopted) continue;
                if (std::ranges::equal(bytes.bytes(), content(id, *one).bytes())) seen->seed = one->seed;
            }
        }
        if (!history.may_be(seen, moment)) (*out)(who + (seen ? " is not what was acknowledged" : " is lost"));
    }
}

Task<void> Oracle::check_segments(Store* store, Moment moment, Findings* out) const {
    for (const auto& [id, history] : segments) {
        std::string const who = "segment " + to_string(id);
        MaybeSegment seen;
        if (auto const info = store->segment_info(id)) {
            seen = SegmentState{info->epoch, info->owner, std::nullopt, info->capacity_bytes};
            if (info->sealed) seen->end = info->end;
        }
        if (!history.may_be(seen, moment)) (*out)(who + (seen ? " is not what was acknowledged" : " is lost"));
        auto const marks = written.find(id);
        if (!seen || marks == written.end()) continue;
        u64 const blocks = std::min(highest(marks->second, moment), seen->capacity / k_block_bytes);
        if (blocks == 0) continue;
        auto const data = co_await store->read_segment(id, 0, blocks * k_block_bytes, IoClass::kClient);
        if (!data) {
            (*out)(who + " does not read: " + data.error().to_string());
            continue;
        }
        // An adopted segment's content is the same, so the cache serves both.
        FragmentState as;
        as.seed = id.seq;
        as.blocks = blocks;
        as.adopted = true;
        if (!std::ranges::equal(data->flatten().bytes(), content({id, 0}, as).bytes()))
            (*out)(who + fmt::format(" lost acknowledged writes among its first {} blocks", blocks));
    }
}

void Oracle::check_adoptions(Store* store, Moment moment, Findings* out) const {
    for (const Adoption& adoption : adoptions) {
        if (adoption.begun >= moment || moment > adoption.ended) continue;
        bool const is_segment = store->segment_info(adoption.id).has_value();
        bool const is_fragment = store->fragment_info({adoption.id, 0}).has_value();
        if (is_segment == is_fragment)
            (*out)("segment " + to_string(adoption.id) +
                   (is_segment ? " is there as a fragment too" : " is gone, and no fragment"));
    }
}

void Oracle::check_notes(Store* store, Moment moment, Findings* out) const {
    for (const auto& [key, history] : notes)
        if (!history.may_be(store->note(key).value_or(std::vector<u8>{}), moment))
            (*out)("note " + key + " is not what was acknowledged");
}

void Oracle::check_consensus(Store* store, Moment moment, u64 more, Findings* out) const {
    if (check_records(store, moment, more, out) < highest(snapshotted, moment))
        (*out)("consensus: an older snapshot");
}

u64 Oracle::check_records(Store* store, Moment moment, u64 more, Findings* out) const {
    u64 next = 1, snapshot = 0;
    store->consensus_journal().replay(
        [&](u64 through, Bytes state) {
            if (through > 0 && !std::ranges::equal(state, consensus_record(through)))
                (*out)("consensus: another snapshot");
            snapshot = through;
            next = through + 1;
        },
        [&](u64 number, Bytes record) {
            if (number != next++) (*out)("consensus: a gap");
            if (!std::ranges::equal(record, consensus_record(number))) (*out)("consensus: another record");
        });
    if (next - 1 < highest(appended, moment))
        (*out)(fmt::format("consensus: record {} was acknowledged, {} is the last one there",
                           highest(appended, moment), next - 1));
    if (next - 1 > highest(appending, moment) + more) (*out)("consensus: records that nobody wrote");
    return snapshot;
}

}  // namespace corelet::testing
