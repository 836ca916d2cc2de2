// Rot aimed at what somebody is about to rely on: the log while it is read or recovered, the sources of a rebuild,
// what a journal has promised. Bits that flip anywhere seldom meet a reader.
#include "base/checksum.h"
#include "device/fragment_index.h"
#include "device/layout.h"
#include "tests/mesh/fault_atlas.h"

namespace corelet {

namespace {
constexpr Duration k_rotten_for = 25_s;
}  // namespace

void FaultAtlas::rot_segment(usize index, SegmentId segment, u64 offset) {
    sim::MediaFile* const device = device_of(index);
    if (!device || !mesh_.node(index)) return;
    auto const places = mesh_.node(index)->services().store->segment_places(segment, offset, k_block_bytes);
    if (places.empty()) return;
    device->flip_bit(places.front().first + random_.below(k_block_bytes), static_cast<u32>(random_.below(8)));
}

// In the middle of the log, where later records tell that what lies there was acknowledged. Beyond the promise at
// all replicas, and nobody else has it.
void FaultAtlas::rot_log() {
    constexpr u64 k_blocks_least = 16;
    auto owner = draw_owner();
    u64 const blocks = owner ? owner->acknowledged_bytes / k_block_bytes : 0;
    if (!owner || blocks < k_blocks_least || owner->replicas.empty()) return;
    world_.stats().count("log.rotted");
    if (options_.beyond) {
        u64 const offset = random_.below(blocks / 2) * k_block_bytes;
        for (usize replica : owner->replicas) rot_segment(replica, owner->segment, offset);
        spoil(owner->index, Trouble::kSpoiled);
        return crash_spoiled(owner->index);
    }
    // The owner reads its own copy first.
    usize const victim =
        random_.chance(1, 2) ? owner->index : owner->replicas[random_.below(owner->replicas.size())];
    if (troubles_[victim] != Trouble::kNone) return;
    spoil(victim, Trouble::kSpoiled);
    // What was written lately is what is read.
    u64 const recent = std::min<u64>(blocks - k_blocks_least / 2, 64);
    for (u64 i = random_.between(1, 16); i != 0; --i)
        rot_segment(victim, owner->segment,
                    (blocks - k_blocks_least / 2 - random_.below(recent) - 1) * k_block_bytes);
    // The others tell the recovery.
    if (victim != owner->index && may_trouble(1) && random_.chance(1, 2)) crash(owner->index, draw(50, 6'000));
    after(draw(2'000, 6'000), &FaultAtlas::crash_spoiled, victim);
}

// The owner dies, and of those who have its log one has lost the end of it. Another one has it all; the recovery
// may not reach it at first, but it lives, so it has to be waited for (protocols 7.2).
void FaultAtlas::rot_log_end() {
    constexpr Duration k_recovered_within = 20_s;
    auto owner = draw_owner();
    auto const leader = mesh_.catalog_leader();
    if (options_.beyond || !owner || !leader || *leader == owner->index || owner->replicas.size() < 2 ||
        owner->acknowledged_bytes < 2 * k_block_bytes || !may_trouble(2))
        return;
    random_.shuffle(owner->replicas);
    usize const rotten = owner->replicas[0], whole = owner->replicas[1];
    if (troubles_[rotten] != Trouble::kNone || troubles_[whole] != Trouble::kNone || *leader == whole) return;
    world_.stats().count("log.end-rotted");
    world_.stats().count_fault(sim::FaultKind::kBitRot);
    spoil(rotten, Trouble::kSpoiled);
    rot_segment(rotten, owner->segment, owner->acknowledged_bytes - k_block_bytes);
    crash(owner->index, draw(3'000, 8'000));
    after(k_recovered_within, &FaultAtlas::crash_spoiled, rotten);
    if (random_.chance(1, 3)) return;
    troubles_[whole] = Trouble::kCut;
    cut({static_cast<u32>(whole)}, all_but({whole, *leader}), draw(4'500, 9'000));
}

// While somebody is being filled, and with everything else sound: a corelet that is read from, and what it has.
std::optional<FaultAtlas::Sources> FaultAtlas::draw_sources() {
    if (options_.beyond || std::ranges::find(troubles_, Trouble::kFilling) == troubles_.end() ||
        !spoiled().empty() || troubled() + 1 > options_.promise)
        return std::nullopt;
    auto const victim = draw_sound();
    if (!victim || !mesh_.node(*victim) || !device_of(*victim)) return std::nullopt;
    Sources out{*victim, mesh_.node(*victim)->services().store->list_fragments(std::nullopt, 1024)};
    random_.shuffle(out.fragments);
    return out;
}

// What somebody is being filled from has rotted at one corelet, for a while, as it does behind a bad cable.
void FaultAtlas::rot_sources() {
    constexpr usize k_fragments_most = 64;
    auto sources = draw_sources();
    if (!sources || sources->fragments.empty()) return;
    auto& fragments = sources->fragments;
    if (fragments.size() > k_fragments_most) fragments.resize(k_fragments_most);
    world_.stats().count("source.rotted", fragments.size());
    spoil(sources->index, Trouble::kSpoiled);
    for (const FragmentInfo& info : fragments) rot_fragment(sources->index, info);
    after(k_rotten_for, &FaultAtlas::undo_rot, sources->index);
}

// Of two fragments of one size each lies where the other one should, whole and with its header, as a device leaves
// them that has mixed up two writes. Every byte verifies, and is in the wrong place.
void FaultAtlas::swap_sources() {
    constexpr usize k_pairs_most = 32;
    auto const sources = draw_sources();
    if (!sources) return;
    std::map<u64, FragmentInfo> alone;  // by size
    usize pairs = 0;
    for (const FragmentInfo& info : sources->fragments) {
        if (pairs == k_pairs_most) break;
        if (!place_of(sources->index, info)) continue;
        auto const [other, fresh] = alone.try_emplace(info.bytes, info);
        if (fresh) continue;
        swap_fragments(sources->index, other->second, info);
        alone.erase(other);
        ++pairs;
    }
    if (pairs == 0) return;
    world_.stats().count("source.swapped", pairs);
    spoil(sources->index, Trouble::kSpoiled);
    after(k_rotten_for, &FaultAtlas::undo_rot, sources->index);
}

// Of a fragment that lies in one piece, with its header in front: where, and how long it is.
std::optional<std::pair<u64, u64>> FaultAtlas::place_of(usize index, const FragmentInfo& info) const {
    auto const places = mesh_.node(index)->services().store->fragment_places(info.id, 0, info.bytes);
    if (info.adopted || places.size() != 1) return std::nullopt;
    u64 const header = fragment_shape(info.bytes / k_block_bytes, 1, false).data_start_block * k_block_bytes;
    std::pair<u64, u64> const place{places.front().first - header, header + info.bytes};
    if (!device_of(index)->is_clean(place.first, place.second)) return std::nullopt;
    return place;
}

void FaultAtlas::swap_fragments(usize index, const FragmentInfo& a, const FragmentInfo& b) {
    auto const from = place_of(index, a).value(), to = place_of(index, b).value();
    CORELET_ASSERT(from.second == to.second);
    for (u64 at = 0; at < from.second; at += k_block_bytes) {
        Buffer const first = device_of(index)->read_durable(from.first + at, k_block_bytes);
        Buffer const second = device_of(index)->read_durable(to.first + at, k_block_bytes);
        rot_page(index, a.id, from.first + at, second);
        rot_page(index, b.id, to.first + at, first);
    }
    world_.stats().count_fault(sim::FaultKind::kMisdirectedWrite);
}

void FaultAtlas::rot_page(usize index, const FragmentId& fragment, u64 offset, const Buffer& page) {
    sim::MediaFile& device = *device_of(index);
    rots_.push_back(Rot{index, fragment, offset, device.read_durable(offset, k_block_bytes), crc32c(page.bytes()),
                        world_.now()});
    device.put_at_rest(offset, page.bytes());
}

void FaultAtlas::rot_fragment(usize index, const FragmentInfo& info) {
    u64 const block = random_.below(info.bytes / k_block_bytes) * k_block_bytes;
    auto const places = mesh_.node(index)->services().store->fragment_places(info.id, block, k_block_bytes);
    CORELET_ASSERT(places.size() == 1, "a block lies in one piece");
    u64 const offset = places.front().first;
    Buffer page = device_of(index)->read_durable(offset, k_block_bytes);
    page.mutable_data()[random_.below(k_block_bytes)] ^= static_cast<u8>(1U << random_.below(8));
    rot_page(index, info.id, offset, page);
    world_.stats().count_fault(sim::FaultKind::kBitRot);
}

// What somebody holds outside its place rots where its place is, just as he asks there whether he may let go of it,
// and he dies: when he is back he asks anew, and what was verified before counts no more.
void FaultAtlas::rot_stray_homes() {
    constexpr Duration k_asked_within = 20_s;
    asked_until_ = world_.now() + k_asked_within;
}

void FaultAtlas::at_confirm(usize holder) {
    if (world_.now() > *asked_until_ || over_ || options_.beyond) return asked_until_.reset();
    if (drill_ || !spoiled().empty() || troubles_[holder] != Trouble::kNone) return;
    auto const member = mesh_.running();
    if (!member || *member == holder || !device_of(*member)) return;
    // Whoever is being filled counts as lost already; its copies are those of which there are strays.
    bool const filling = troubles_[*member] == Trouble::kFilling;
    if (!filling && troubles_[*member] != Trouble::kNone) return;
    if (troubled() + (filling ? 1 : 2) > options_.promise) return;
    asked_until_.reset();
    world_.call_in(Duration{}, [self = self_, holder, member = *member] {
        if (*self) (*self)->rot_strays(holder, member);
    });
}

void FaultAtlas::rot_strays(usize holder, usize member) {
    constexpr usize k_fragments_most = 64;
    if (!mesh_.node(holder) || !mesh_.node(member)) return;
    auto const map = mesh_.node(holder)->services().maps->current();
    const Store& store = *mesh_.node(member)->services().store;
    usize rotten = 0;
    for (const FragmentInfo& stray : mesh_.node(holder)->services().store->list_fragments(std::nullopt, 1024))
        for (const mesh::Pool& pool : map->pools) {
            if (stray.id.position >= pool.current().width() || rotten == k_fragments_most ||
                pool.current().at(pool.slot(stray.id.chunk), stray.id.position) != mesh_.id(member))
                continue;
            auto const info = store.fragment_info(stray.id);
            if (!info) continue;
            rot_fragment(member, *info);
            ++rotten;
        }
    if (rotten == 0) return;
    world_.stats().count("stray.rotted", rotten);
    calm_since_ = world_.now();
    spoil(member, Trouble::kSpoiled);
    crash(holder, draw(50, 1'500));
    after(k_rotten_for, &FaultAtlas::undo_rot, member);
}

bool FaultAtlas::is_there(const Rot& rot) const {
    const sim::MediaFile* const device = device_of(rot.index);
    return device && device->is_as_put(rot.offset) &&
           crc32c(device->read_durable(rot.offset, k_block_bytes).bytes()) == rot.crc;
}

// What has been written anew meanwhile stays.
void FaultAtlas::undo_rot(usize index) {
    if (troubles_[index] != Trouble::kSpoiled) return;
    for (const Rot& rot : rots_)
        if (rot.index == index && is_there(rot)) device_of(index)->put_at_rest(rot.offset, rot.before.bytes());
    std::erase_if(rots_, [index](const Rot& rot) { return rot.index == index; });
    troubles_[index] = Trouble::kFilling;
    whole_since_.reset();
}

bool FaultAtlas::has_rotted(usize index, const FragmentId& fragment, sim::VirtualTime before) const {
    CORELET_ASSERT(options_.longest < k_longest_answer);
    // One that was rebuilt lies elsewhere, and what it was is still there until something else is written over it.
    auto const is_its = [&](const Rot& rot) {
        const Store& store = *mesh_.node(index)->services().store;
        auto const info = store.fragment_info(fragment);
        return info && std::ranges::any_of(store.fragment_places(fragment, 0, info->bytes), [&](auto const& piece) {
                   return piece.first <= rot.offset && rot.offset < piece.first + piece.second;
               });
    };
    return mesh_.node(index) && std::ranges::any_of(rots_, [&](const Rot& rot) {
               return rot.index == index && rot.fragment == fragment && rot.since < before && is_there(rot) &&
                      is_its(rot);
           });
}

// A corelet whose memory has gone bad: what it reads is right when it verifies it, and wrong when it leaves.
// Nothing else is, so whoever asks finds it right elsewhere.
void FaultAtlas::garble_reads() {
    auto const victim = draw_victim_or_owner();
    if (options_.beyond || !victim) return;
    Duration const length = draw(2'000, 10'000);
    troubles_[*victim] = Trouble::kGarbling;
    garbling_ = *victim;
    drill_ = Drill{world_.now() + length, {}, std::nullopt};
    after(length, &FaultAtlas::garble_no_more, *victim);
}

void FaultAtlas::garble(const FaultPoints::Moment& moment) {
    bool const is_read = moment.method == chunk_method::k_read.v || moment.method == stream_method::k_read.v;
    if (!is_read || !moment.payload || moment.payload->empty() || !mesh_.machine(*garbling_).is_running()) return;
    if (random_.chance(1, 2)) return;
    Buffer spoilt = Buffer::copy_of(moment.payload->flatten().bytes());
    spoilt.mutable_data()[random_.below(spoilt.size())] ^= static_cast<u8>(1U << random_.below(8));
    *moment.payload = std::move(spoilt);
    world_.stats().count("read.garbled");
}

void FaultAtlas::garble_no_more(usize index) {
    if (troubles_[index] != Trouble::kGarbling) return;
    troubles_[index] = Trouble::kNone;
    garbling_.reset();
}

// A batch of one of the journals that was promised, and another one after it. What it said is gone, and nobody can
// tell what that was: whoever starts on it is somebody else.
void FaultAtlas::rot_journal() {
    auto const victim = draw_sound();
    if (!victim || !device_of(*victim)) return;
    CoreletId const id = mesh_.id(*victim);
    mesh_.machine(*victim).crash(sim::Ending::kPower);
    Journal const journal = random_.chance(1, 3) ? Journal::kConsensus : Journal::kMetadata;
    if (!rot_promised_batch(*victim, journal)) return crash(*victim, sim::Ending::kPower, draw(50, 3'000));
    world_.stats().count(journal == Journal::kConsensus ? "votes.rotted" : "journal.rotted");
    world_.stats().count_fault(sim::FaultKind::kBitRot);
    spoil(*victim, Trouble::kOld);
    former_[*victim] = Former{id, world_.now(), journal == Journal::kConsensus};
    after(draw(100, 3'000), &FaultAtlas::look_whether_noticed, *victim);
}

bool FaultAtlas::rot_promised_batch(usize index, Journal journal) {
    constexpr u32 k_batch_magic = 0x31424A43;  // docs/format/journal.md
    sim::MediaFile& device = *device_of(index);
    bool const witness = index >= mesh_.options().corelets;
    auto const layout = plan_layout({device.size_bytes(), witness, 0, 0});
    CORELET_ASSERT(layout.has_value());
    struct Batch {
        u64 number = 0;
        usize half = 0;
        u64 offset = 0;
    };
    std::vector<Batch> batches;
    JournalArea const area = journal == Journal::kConsensus ? layout->consensus_area(1) : layout->metadata_area(1);
    for (usize half = 0; half < 2; ++half) {
        u64 const start = area.half_offset[half];
        for (u64 at = start; at < start + area.half_bytes; at += k_block_bytes) {
            Buffer const block = device.read_durable(at, k_block_bytes);
            u32 magic = 0;
            std::memcpy(&magic, block.data(), sizeof magic);
            if (magic != k_batch_magic) continue;
            Batch batch{0, half, at};
            std::memcpy(&batch.number, block.data() + 8, sizeof batch.number);
            batches.push_back(batch);
        }
    }
    auto const newest = std::ranges::max_element(batches, {}, &Batch::number);
    if (newest == batches.end()) return false;
    auto const before = std::ranges::find_if(
        batches, [&](const Batch& b) { return b.half == newest->half && b.number + 1 == newest->number; });
    if (before == batches.end()) return false;
    device.flip_bit(before->offset + 16, 3);
    if (journal == Journal::kMetadata) return true;
    // What has rotted of the consensus log is supplied by the others, as long as it tells what had been promised.
    for (u64 slot = 0; slot < k_ring_slots; ++slot)
        device.flip_bit(area.ring_offset + slot * k_block_bytes + 40, 3);
    for (u64 half : area.half_offset) device.flip_bit(half + 16, 3);
    return true;
}

std::optional<FaultAtlas::Former> FaultAtlas::former(usize index) const {
    auto const found = former_.find(index);
    return found == former_.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace corelet
