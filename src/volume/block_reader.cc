#include "volume/block_reader.h"

#include "base/fault_point.h"

#include <algorithm>

#include "base/checksum.h"
#include "rt/combine.h"

namespace corelet {

namespace {
constexpr usize k_run_blocks_max = 256;  // one read: 1 MiB
constexpr usize k_reads_at_once = 16;
constexpr u32 k_zero_blocks = 16;
}  // namespace

Buffer BlockReader::zeros(usize blocks) {
    if (zeros_.empty()) zeros_ = Buffer::zeroed(k_zero_blocks * k_block_bytes);
    return zeros_.slice(0, blocks * k_block_bytes);
}

// Memory may rot like anything else.
bool BlockReader::from_memory(const BlockEntry& entry, u8* out) {
    if (FAULT_POINT("cache.miss") || !state_.cache.copy(entry.container, entry.block, out)) return false;
    if (crc32c(Bytes(out, k_block_bytes)) == entry.crc) return true;
    state_.cache.erase(entry.container, entry.block);
    return false;
}

// As many of the entries from `at` on as are in memory one after the other.
Buffer BlockReader::copy_cached(const std::vector<BlockEntry>& entries, usize at) {
    usize count = 0;
    while (count < k_run_blocks_max && at + count < entries.size() &&
           state_.cache.contains(entries[at + count].container, entries[at + count].block))
        ++count;
    if (count == 0) return {};
    Buffer out = Buffer::allocate(count * k_block_bytes);
    usize copied = 0;
    while (copied < count && from_memory(entries[at + copied], out.mutable_data() + copied * k_block_bytes))
        ++copied;
    return out.slice(0, copied * k_block_bytes);
}

Task<Result<BufferChain>> BlockReader::fetch_once(u64 seq, u32 first_block, std::vector<u32> crcs,
                                                  TrafficClass traffic) {
    const Container* const container = state_.containers.find(seq);
    if (!container || first_block + crcs.size() > container->blocks)
        co_return fail(Code::kUnknown, "the container is not there any more", seq);
    if (!container->in_log())
        co_return co_await chunks_.get(seq, container->blocks, first_block, crcs.size(), std::move(crcs), traffic);
    if (!stream_) co_return fail(Code::kUnavailable, "the log is not there yet");
    u32 const count = static_cast<u32>(crcs.size());
    co_return co_await stream_->read({chunks_.space(), seq}, first_block, count, std::move(crcs));
}

Task<Result<BufferChain>> BlockReader::fetch(u64 seq, u32 first_block, std::vector<u32> crcs,
                                             TrafficClass traffic) {
    for (u32 attempt = 0;; ++attempt) {
        auto got = co_await fetch_once(seq, first_block, crcs, traffic);
        if (!got) {
            // What cannot be had now may be had later: reads wait, they do not fail (below the minimum of copies,
            // say).
            if (!got.error().is_retryable() || got.error().code == Code::kUnknown) co_return got;
            co_await chunks_.clock().sleep(backoff(attempt));
            continue;
        }
        // Log and chunks compare with the checksums they were given.
        CORELET_ASSERT(got->size() == crcs.size() * k_block_bytes, "a read of another length");
        co_return got;
    }
}

Task<Result<BufferChain>> BlockReader::fetch_run(const std::vector<BlockEntry>* entries, Run run,
                                                 TrafficClass traffic) {
    std::vector<u32> crcs;
    crcs.reserve(run.count);
    for (usize i = 0; i < run.count; ++i) crcs.push_back((*entries)[run.first + i].crc);
    const BlockEntry& first = (*entries)[run.first];
    return fetch(first.container, first.block, std::move(crcs), traffic);
}

Task<Result<BufferChain>> BlockReader::read(std::vector<BlockEntry> entries, bool keep, TrafficClass traffic) {
    // Piece by piece: what is in memory is copied, what is not is remembered as a run and filled in afterwards.
    std::vector<BufferChain> pieces;
    std::vector<std::pair<usize, Run>> missing;  // piece, entries
    for (usize at = 0; at < entries.size();) {
        const BlockEntry& entry = entries[at];
        if (!entry.has_data()) {
            usize count = 1;
            while (count < k_zero_blocks && at + count < entries.size() && !entries[at + count].has_data()) ++count;
            pieces.emplace_back(zeros(count));
            at += count;
            continue;
        }
        if (Buffer const cached = copy_cached(entries, at); !cached.empty()) {
            at += cached.size() / k_block_bytes;
            pieces.emplace_back(cached);
            continue;
        }
        Run run{at, 1};
        while (run.count < k_run_blocks_max && at + run.count < entries.size()) {
            const BlockEntry& next = entries[at + run.count];
            bool const follows = next.names(entry.container, entry.block + static_cast<u32>(run.count));
            if (!follows || state_.cache.contains(next.container, next.block)) break;
            ++run.count;
        }
        missing.emplace_back(pieces.size(), run);
        pieces.emplace_back();
        at += run.count;
    }
    for (usize at = 0; at < missing.size(); at += k_reads_at_once) {
        usize const count = std::min(k_reads_at_once, missing.size() - at);
        std::vector<Result<BufferChain>> got;
        if (count == 1) {
            got.push_back(co_await fetch_run(&entries, missing[at].second, traffic));
        } else {
            std::vector<Task<Result<BufferChain>>> reads;
            for (usize i = 0; i < count; ++i) reads.push_back(fetch_run(&entries, missing[at + i].second, traffic));
            got = co_await join_all<Result<BufferChain>>(std::move(reads));
        }
        for (usize i = 0; i < count; ++i) {
            if (!got[i]) co_return std::unexpected(std::move(got[i]).error());
            auto const& [piece, run] = missing[at + i];
            for (usize block = 0; keep && block < run.count; ++block) {
                const BlockEntry& entry = entries[run.first + block];
                Buffer const contents = got[i]->slice(block * k_block_bytes, k_block_bytes).flatten();
                state_.cache.insert(entry.container, entry.block, contents, false);
            }
            pieces[piece] = *std::move(got[i]);
        }
    }
    BufferChain out;
    for (const BufferChain& piece : pieces) out.append(piece);
    CORELET_ASSERT(out.size() == entries.size() * k_block_bytes);
    co_return out;
}

Task<void> BlockReader::gather_run(const std::vector<BlockEntry>* entries, std::vector<usize> order, u8* out,
                                   TrafficClass traffic, std::vector<std::optional<Error>>* errors) {
    std::vector<u32> crcs;
    for (usize const index : order) crcs.push_back((*entries)[index].crc);
    const BlockEntry& first = (*entries)[order.front()];
    auto const whole = co_await fetch(first.container, first.block, std::move(crcs), traffic);
    Buffer const bytes = whole ? whole->flatten() : Buffer();
    for (usize i = 0; i < order.size(); ++i) {
        u8* const to = out + order[i] * k_block_bytes;
        if (whole) {
            std::memcpy(to, bytes.data() + i * k_block_bytes, k_block_bytes);
            continue;
        }
        // One bad block must not take its neighbours with it.
        const BlockEntry& entry = (*entries)[order[i]];
        std::vector<u32> const crc(1, entry.crc);
        auto const one = co_await fetch(entry.container, entry.block, crc, traffic);
        if (one) {
            std::memcpy(to, one->flatten().data(), k_block_bytes);
        } else {
            (*errors)[order[i]] = one.error();
        }
    }
}

Task<std::vector<std::optional<Error>>> BlockReader::gather(std::vector<BlockEntry> entries, Buffer out,
                                                            TrafficClass traffic) {
    CORELET_ASSERT(out.size() == entries.size() * k_block_bytes);
    std::vector<std::optional<Error>> errors(entries.size());
    std::vector<usize> order;
    for (usize i = 0; i < entries.size(); ++i) {
        CORELET_ASSERT(entries[i].has_data());
        if (!from_memory(entries[i], out.mutable_data() + i * k_block_bytes)) order.push_back(i);
    }
    auto const place = [&](usize i) { return std::pair(entries[i].container, entries[i].block); };
    std::sort(order.begin(), order.end(), [&](usize a, usize b) { return place(a) < place(b); });
    Scope scope(co_await this_executor());
    for (usize at = 0; at < order.size();) {
        std::vector<usize> run(1, order[at]);
        while (run.size() < k_run_blocks_max && at + run.size() < order.size()) {
            const BlockEntry& next = entries[order[at + run.size()]];
            if (!next.names(entries[run[0]].container, entries[run[0]].block + static_cast<u32>(run.size()))) break;
            run.push_back(order[at + run.size()]);
        }
        at += run.size();
        scope.spawn(gather_run(&entries, std::move(run), out.mutable_data(), traffic, &errors));
        if (scope.size() >= k_reads_at_once) co_await scope.join();
    }
    co_await scope.join();
    co_return errors;
}

}  // namespace corelet
