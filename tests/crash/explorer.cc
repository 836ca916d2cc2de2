#include "tests/crash/explorer.h"

#include <fmt/format.h>

#include <filesystem>  // host: images of devices
#include <fstream>     // host: images of devices

#include "base/hash.h"
#include "device/device_testing.h"
#include "device/layout.h"

namespace corelet::testing {

namespace {

constexpr u64 k_records_afterwards = 2;
constexpr u64 k_journals_end = Layout::k_metadata_offset + 4 * 256 * k_kib;  // with small_format()

void write_file(const std::string& path, const std::vector<u8>& bytes) {
    std::ofstream out(path, std::ios::binary | std::ios::trunc);  // host: images of devices
    out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    CORELET_ASSERT(out.good(), "an image of a device cannot be written");
}

// What must not change between a clean end and the next mount.
struct Inventory {
    std::vector<FragmentInfo> fragments;
    std::vector<SegmentInfo> segments;
    u64 consensus = 0;
    friend bool operator==(const Inventory&, const Inventory&) = default;
    [[nodiscard]] static Inventory of(Store& store) {
        return {store.list_fragments(std::nullopt, 100'000), store.list_segments(),
                store.consensus_journal().durable_number()};
    }
};

}  // namespace

void ExplorerCounts::add(const ExplorerCounts& other) {
    states += other.states;
    distinct += other.distinct;
    nested += other.nested;
    on_file += other.on_file;
    rotten += other.rotten;
    rot_said += other.rot_said;
    while_formatting += other.while_formatting;
    prefixes_there_are += other.prefixes_there_are;
    for (usize i = 0; i < by_kind.size(); ++i) by_kind[i] += other.by_kind[i];
}

Explorer::Explorer(os::Host& host, const WriteLog& log, const Oracle& oracle, std::vector<u8> start,
                   ExplorerOptions options)
    : host_(host),
      log_(log),
      oracle_(oracle),
      start_(std::move(start)),
      options_(std::move(options)),
      random_(Prng(options_.seed).fork("crashes")) {}

// Each prefix of each epoch: an epoch lasts until something is settled, and is looked at when it ends.
std::vector<Explorer::Step> Explorer::plan() {
    std::set<Moment> epochs{log_.now() + 1};
    for (const LoggedWrite& write : log_.writes())
        if (write.settled != k_never) epochs.insert(write.settled);
    std::vector<Step> steps;
    CrashStates states(log_, start_);
    for (Moment const moment : epochs) {
        states.advance(moment);
        for (usize n = 0; n <= states.pending(); ++n) steps.push_back({moment, false, n});
    }
    counts_.prefixes_there_are = steps.size();
    u64 drawn = steps.size();
    if (options_.states != 0) {
        random_.shuffle(steps);
        steps.resize(std::min<usize>(steps.size(), options_.states / 2));
        drawn = options_.states - steps.size();
    }
    for (u64 n = 0; n < drawn; ++n) steps.push_back({random_.between(1, log_.now() + 1), true, 0});
    std::ranges::sort(steps);
    return steps;
}

const std::vector<std::string>& Explorer::run() {
    CrashStates states(log_, start_);
    for (const Step& step : plan()) {
        if (complaints_.size() >= options_.complaints_max) break;
        states.advance(step.moment);
        auto const kind = static_cast<CrashKind>(random_.below(k_crash_kinds));
        CrashState state = step.drawn ? states.draw(kind, random_) : states.prefix(step.prefix);
        if (seen_.emplace(states.settled_writes(), state.image.digest()).second) ++counts_.distinct;
        explore(std::move(state), step.moment);
    }
    return complaints_;
}

void Explorer::explore(CrashState state, Moment moment) {
    ++counts_.states;
    ++counts_.by_kind[static_cast<usize>(state.kind)];
    if (moment <= oracle_.formatted) ++counts_.while_formatting;
    DeviceImage const untouched = state.image;
    std::string wrong = live(state.image, moment, nullptr, 0);
    std::string where;
    if (wrong.empty() && options_.on_file_every != 0 && counts_.states % options_.on_file_every == 0) {
        ++counts_.on_file;
        wrong = live_on_file(untouched, moment);
        where = ", on a file";
    }
    if (wrong.empty() && options_.nested_every != 0 && counts_.states % options_.nested_every == 0) {
        ++counts_.nested;
        wrong = cut_again(untouched, moment);
        where = ", and again in the life after it";
    }
    if (wrong.empty() && options_.rot_every != 0 && counts_.states % options_.rot_every == 0) {
        wrong = rot(untouched, moment);
        where = ", and a bit has flipped in a journal";
    }
    if (wrong.empty()) return;
    std::string const image =
        fmt::format("{}/seed{}-state{}.img", options_.directory, options_.seed, counts_.states);
    write_file(image, untouched.bytes());
    complaints_.push_back(fmt::format(
        "seed {}, crash state {} ({}), power cut at moment {} of {}{}\n  on media: {}\n"
        "  the device then: {}\n  {}",
        options_.seed, counts_.states, name_of(state.kind), moment, log_.now(), where, state.how, image, wrong));
}

std::string Explorer::live(DeviceImage& image, Moment moment, WriteLog* recorded, u64 more) {
    std::string wrong;
    Inventory before;
    bool is_mounted = false;
    for (u32 mounts = 0; mounts < 2 && wrong.empty(); ++mounts) {
        Rig rig(random_.next());
        std::unique_ptr<File> file = open_image(image);
        if (recorded) file = record_file(std::move(file), *recorded);
        auto mounted = rig.run(Store::mount(std::move(file), rig.env(), small_store()));
        if (!mounted) {
            // Before the format had ended there may be no device; what is one once stays one.
            Code const code = mounted.error().code;
            bool const may = moment <= oracle_.formatted && (code == Code::kNotFound || code == Code::kCorrupt);
            return may && !is_mounted ? "" : "mount: " + mounted.error().to_string();
        }
        is_mounted = true;
        Store& store = **mounted;
        if (mounts == 1 && Inventory::of(store) != before) wrong += "the next mount finds something else\n";
        wrong += rig.run(oracle_.check(&store, moment, more + mounts * k_records_afterwards));
        if (wrong.empty() && mounts == 0) wrong += rig.run(work_on(&store));
        before = Inventory::of(store);
        rig.settle();
        wrong += rig.log.errors;
    }
    return wrong;
}

// Names that the oracle knows nothing of, drawn anew each time: a life may follow another on the same device.
Task<std::string> Explorer::work_on(Store* store) {
    std::string wrong;
    u64 const name = random_.next() >> 1;
    if (!store->label().witness) {
        Buffer const data = pattern(name, 3);
        FragmentId const fragment{{Oracle::k_afterwards, name}, 0};
        SegmentId const segment{Oracle::k_afterwards, name};
        Result<void> put = co_await store->put_fragment(fragment, {}, data, crcs_of(data), {});
        if (!put && put.error().code != Code::kNoSpace)
            wrong += "put afterwards: " + put.error().to_string() + "\n";
        SegmentSpec spec;
        spec.epoch = Epoch(3);
        spec.owner = CoreletId(3);
        spec.initial_bytes = k_unit_bytes;
        Result<void> done = co_await store->prepare_segment(segment, spec);
        if (done) done = co_await store->write_segment(segment, Epoch(3), CoreletId(3), 0, data);
        if (!done && done.error().code != Code::kNoSpace)
            wrong += "write afterwards: " + done.error().to_string() + "\n";
        auto const read = co_await store->read_fragment(fragment, 0, data.size(), {});
        if (put && (!read || !std::ranges::equal(read->data.flatten().bytes(), data.bytes())))
            wrong += "what was put afterwards does not read\n";
    }
    Result<void> const noted = co_await store->put_note("afterwards", {1, 2, 3});
    if (!noted) wrong += "note afterwards: " + noted.error().to_string() + "\n";
    Journal& journal = store->consensus_journal();
    for (u64 n = 0; n < k_records_afterwards; ++n) {
        auto const added = co_await journal.append({Oracle::consensus_record(journal.submitted_number() + 1)});
        if (!added && added.error().code != Code::kNoSpace)
            wrong += "append afterwards: " + added.error().to_string() + "\n";
    }
    co_return wrong;
}

// What a batch had promised and no longer reads back is told from one that was never finished by its identifier
// alone (protocols 10.3): nothing that was acknowledged may be gone without a word.
std::string Explorer::rot(DeviceImage image, Moment moment) {
    static constexpr usize k_recent = 12;
    std::vector<const LoggedWrite*> settled;
    for (const LoggedWrite& write : log_.writes())
        if (write.settled < moment && write.offset >= Layout::k_metadata_offset && write.offset < k_journals_end)
            settled.push_back(&write);
    if (settled.empty() || moment <= oracle_.formatted) return "";
    ++counts_.rotten;
    const LoggedWrite& write = *settled[settled.size() - 1 - random_.below(std::min(settled.size(), k_recent))];
    u64 const at = write.offset + random_.below(write.bytes.size());
    std::array<u8, k_block_bytes> block{};
    u64 const page = at / k_block_bytes * k_block_bytes;
    image.read(page, block);
    block[at - page] ^= static_cast<u8>(1U << random_.below(8));
    image.write(page, block);
    Rig rig(random_.next());
    auto const mounted = rig.run(Store::mount(open_image(image), rig.env(), small_store()));
    if (!mounted) return "mount: " + mounted.error().to_string();
    if ((*mounted)->has_forgotten() || (*mounted)->consensus_journal().is_rotten()) ++counts_.rot_said;
    std::string const wrong = rig.run(oracle_.check_after_rot(mounted->get(), moment));
    return wrong.empty() ? wrong : fmt::format("byte {} flipped, and nothing is said of it\n  ", at) + wrong;
}

// The life after the crash is recorded, and cut off somewhere: what the first crash left binds all the same.
std::string Explorer::cut_again(const DeviceImage& image, Moment moment) {
    std::vector<u8> const start = image.bytes();
    DeviceImage first(start);
    WriteLog log;
    std::string wrong = live(first, moment, &log, 0);
    if (!wrong.empty() || log.writes().empty()) return wrong;
    log.finish();
    CrashStates states(log, start);
    states.advance(random_.between(1, log.now() + 1));
    CrashState second = states.draw(static_cast<CrashKind>(random_.below(k_crash_kinds)), random_);
    wrong = live(second.image, moment, nullptr, k_records_afterwards);
    return wrong.empty() ? wrong : second.how + "\n  " + wrong;
}

std::string Explorer::live_on_file(const DeviceImage& image, Moment moment) {
    std::string const path = options_.directory + "/crashed.img";
    write_file(path, image.bytes());
    std::string wrong = host_.run_until_done(live_in(&host_.env(), path, moment));
    std::filesystem::remove(path);
    return wrong;
}

Task<std::string> Explorer::live_in(Env* env, std::string path, Moment moment) {
    auto file = co_await env->disk.open(path, {});
    if (!file) co_return "open: " + file.error().to_string();
    auto mounted = co_await Store::mount(*std::move(file), StoreEnv::of(*env), small_store());
    if (!mounted) {
        Code const code = mounted.error().code;
        bool const may = moment <= oracle_.formatted && (code == Code::kNotFound || code == Code::kCorrupt);
        co_return may ? "" : "mount: " + mounted.error().to_string();
    }
    std::string wrong = co_await oracle_.check(mounted->get(), moment, 0);
    if (wrong.empty()) wrong = co_await work_on(mounted->get());
    co_await (*mounted)->close();
    co_return wrong;
}

}  // namespace corelet::testing
