#include "tests/mesh/filler.h"

namespace corelet {

namespace {
constexpr u64 k_step_blocks = 16;
constexpr u64 k_step_bytes = k_step_blocks * k_block_bytes;
constexpr Duration k_trim_bound = 60_s;  // of being refused again and again, with owners that change meanwhile
}  // namespace

Filler::Filler(SimMesh& mesh, std::string volume, u64 volume_bytes, const std::vector<u64>& taken)
    : mesh_(mesh),
      volume_(std::move(volume)),
      random_(mesh.world().fork("filler")),
      clients_(mesh.world(), {1, 4_ms, 10_s}, random_, [this](usize client) { ask(client); }) {
    for (u64 block = 0; block + k_step_blocks <= volume_bytes / k_block_bytes; block += k_step_blocks) {
        auto const near = std::ranges::lower_bound(taken, block);
        if (near == taken.end() || *near >= block + k_step_blocks) places_.push_back(block * k_block_bytes);
    }
}

void Filler::ask(usize client) {
    if (finishing_ && !trimming_) turn_back();
    if (is_done()) return;
    auto const device = mesh_.device(volume_);
    auto const server = mesh_.server_of(volume_);
    if (!device || !server || (!finishing_ && mesh_.world().now() < rests_until_))
        return clients_.again_in(client, 50_ms);
    if (trimming_ && next_ == used_) {  // all of it is free again
        trimming_ = false;
        used_ = next_ = 0;
    }
    if (!trimming_ && used_ == places_.size()) turn_back();
    Step const step{places_[trimming_ ? next_ : used_], trimming_};
    mesh_.spawn(*server, carry_out(clients_.take_turn(client), this, device, step));
}

void Filler::turn_back() {
    trimming_ = true;
    next_ = 0;
    refused_since_ = mesh_.world().now();
}

Task<void> Filler::carry_out(std::unique_ptr<Clients::Turn> turn, Filler* self, std::shared_ptr<BlockDevice> device,
                             Step step) {
    Result<void> result;
    if (step.is_trim) {
        result = co_await device->trim(step.offset, k_step_bytes, false);
    } else {
        Buffer data = Buffer::allocate(k_step_bytes);
        for (u64 at = 0; at < k_step_bytes; at += 8) {
            u64 const word = step.offset + at;  // no two blocks alike
            std::memcpy(data.mutable_data() + at, &word, 8);
        }
        result = co_await device->write(step.offset, BufferChain(std::move(data)), false);
    }
    if (turn->is_heard()) self->ended(step, result);
}

// A step that was given up may end after the next one has begun: only what the present one does counts.
void Filler::ended(const Step& step, const Result<void>& result) {
    sim::World& world = mesh_.world();
    if (step.is_trim != trimming_ || step.offset != places_[trimming_ ? next_ : used_]) return;
    if (result) {
        world.stats().count(step.is_trim ? "filler.trimmed" : "filler.written");
        ++(trimming_ ? next_ : used_);
        refused_since_ = world.now();
        return;
    }
    if (step.is_trim) {
        if (world.now() - refused_since_ > k_trim_bound)
            world.fail("[full] for a minute no trim was taken: " + result.error().to_string());
        return;
    }
    if (result.error().code != Code::kNoSpace) return;
    world.stats().count("filler.full");
    rests_until_ = world.now() + Duration{static_cast<i64>(random_.between(1'000, 8'000)) * 1'000'000};
    turn_back();
}

}  // namespace corelet
