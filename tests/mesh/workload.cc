#include "tests/mesh/workload.h"

#include "base/hash.h"

namespace corelet {

namespace {
constexpr usize k_sector = k_block_bytes / k_history_sectors;
constexpr usize k_run = 4;               // neighbours
constexpr usize k_at_a_door = SIZE_MAX;  // as a server: whoever owns it
// Too many writes that were never answered, and nobody finds the order any more: others are written then.
constexpr usize k_open_writes_most = 16;
constexpr usize k_replaced_most = 7;  // times, each run

// What a value looks like in a sector of the volume: the place counts, so that a block in a wrong place shows.
void fill_sector(u8* out, u64 value, u64 place) {
    u64 const key = hash64(value, place);
    std::memcpy(out, &value, 8);
    for (usize i = 8; i < k_sector; i += 8) {
        u64 const word = key + i;
        std::memcpy(out + i, &word, 8);
    }
}

std::optional<u64> value_of(Bytes sector, u64 place) {
    u64 value = 0;
    std::memcpy(&value, sector.data(), 8);
    std::array<u8, k_sector> expected{};
    if (value != 0) fill_sector(expected.data(), value, place);
    if (std::memcmp(expected.data(), sector.data(), k_sector) != 0) return std::nullopt;
    return value;
}
}  // namespace

struct Workload::Operation {
    enum class Kind : u8 { kRead, kWrite, kTrim };
    Kind kind = Kind::kRead;
    usize volume = 0;
    usize first = 0;  // block, by its place in the list of blocks
    usize blocks = 1;
    usize first_sector = 0;
    usize sectors = k_history_sectors;  // of each block
    u64 value = 0;
    u64 offset = 0;
    Buffer data;
    std::vector<usize> handles;
    usize server = 0;
    sim::VirtualTime begun;
    bool has_ended = false;
};

Workload::Workload(SimMesh& mesh, std::vector<std::string> volumes, u64 volume_bytes, WorkloadOptions options)
    : mesh_(mesh),
      world_(mesh.world()),
      options_(options),
      random_(world_.fork("workload")),
      last_(options.clients),
      clients_(world_, {options.clients, options.think_max, options.patience}, random_,
               [this](usize client) { next(client); }) {
    CORELET_ASSERT(options_.blocks % k_run == 0);
    u64 const total = volume_bytes / k_block_bytes;
    for (std::string& name : volumes) {
        Volume volume;
        volume.name = std::move(name);
        // Runs of neighbours, spread.
        u64 const step = total / (options_.blocks / k_run + 1);
        for (usize i = 0; i < options_.blocks; ++i) volume.lbas.push_back((i / k_run) * step + i % k_run);
        for (usize i = 0; i < options_.blocks; i += k_run) volume.runs.push_back(i);
        volume.blocks.resize(options_.blocks);
        volumes_.push_back(std::move(volume));
    }
}

// An old owner that does not know it yet serves too, as far as it is concerned: now and then a client talks to it.
// `but`: where it has waited in vain, if there is anybody else.
std::shared_ptr<BlockDevice> Workload::pick_device(const std::string& volume, usize* server,
                                                   std::optional<usize> but) {
    auto servers = mesh_.servers_of(volume);
    if (servers.empty()) return nullptr;
    if (but && servers.size() > 1) std::erase(servers, *but);
    *server = servers[random_.below(servers.size())];
    if (servers.size() > 1) world_.stats().count("two-servers");
    return mesh_.node(*server)->services().volumes->device(volume);
}

void Workload::draw(Operation& operation, bool is_reader) {
    u64 const dice = is_reader ? 0 : random_.below(100);
    operation.volume = random_.below(volumes_.size());
    usize const drawn = random_.below(options_.blocks);
    Volume& volume = volumes_[operation.volume];
    operation.first = volume.runs[drawn / k_run] + drawn % k_run;
    if (volume.blocks[operation.first].open_writes() >= k_open_writes_most) {
        replace_run(volume, drawn / k_run);
        operation.first = volume.runs[drawn / k_run] + drawn % k_run;
    }
    if (dice < 35) {
        operation.kind = Operation::Kind::kRead;
    } else if (dice < 96) {
        operation.kind = Operation::Kind::kWrite;
        operation.value = next_value_++;
    } else {
        operation.kind = Operation::Kind::kTrim;
    }
    usize const neighbours = std::min(k_run - operation.first % k_run, volume.blocks.size() - operation.first);
    if (random_.chance(15, 100)) {
        operation.blocks = 1 + random_.below(neighbours);
    } else if (operation.kind == Operation::Kind::kWrite && random_.chance(15, 100)) {
        operation.first_sector = random_.below(k_history_sectors);
        operation.sectors = 1 + random_.below(k_history_sectors - operation.first_sector);
    }
    operation.offset = volume.lbas[operation.first] * k_block_bytes + operation.first_sector * k_sector;
}

// The next one behind it; what was written stays, and is read in the end.
void Workload::replace_run(Volume& volume, usize run) {
    usize const first = volume.runs[run];
    u64 const lba = volume.lbas[first] + k_run;
    if (lba >= volume.lbas[run * k_run] + (k_replaced_most + 1) * k_run) return;
    world_.stats().count("blocks.replaced", k_run);
    volume.runs[run] = volume.blocks.size();
    for (usize i = 0; i < k_run; ++i) volume.lbas.push_back(lba + i);
    volume.blocks.resize(volume.blocks.size() + k_run);
}

std::vector<u64> Workload::places() const {
    std::vector<u64> out;
    const Volume& volume = volumes_.front();
    for (usize i = 0; i < options_.blocks; i += k_run)
        for (usize each = 0; each < (k_replaced_most + 1) * k_run; ++each) out.push_back(volume.lbas[i] + each);
    return out;
}

Buffer Workload::contents(const Volume& volume, const Operation& operation) const {
    Buffer out = Buffer::allocate(operation.blocks * operation.sectors * k_sector);
    for (usize block = 0; block < operation.blocks; ++block)
        for (usize i = 0; i < operation.sectors; ++i)
            fill_sector(out.mutable_data() + (block * operation.sectors + i) * k_sector, operation.value,
                        volume.lbas[operation.first + block] * k_history_sectors + operation.first_sector + i);
    return out;
}

void Workload::next(usize client) {
    auto operation = std::make_shared<Operation>();
    draw(*operation, client < options_.readers);
    Volume& volume = volumes_[operation->volume];
    usize server = 0;
    auto const& last = last_[client];
    bool const in_vain = last && !last->has_ended && last->volume == operation->volume;
    auto device = doors_ ? doors_->device(volume.name)
                         : pick_device(volume.name, &server, in_vain ? std::optional(last->server) : std::nullopt);
    if (doors_) server = k_at_a_door;
    if (!device) {
        clients_.again_in(client, 30_ms);
        return;
    }
    std::string const note = (doors_ ? "at the door, " : "at c" + std::to_string(server + 1) + ", ") +
                             std::to_string(world_.now().ns / 1'000'000) + " ms";
    for (usize i = 0; i < operation->blocks; ++i) {
        BlockHistory& history = volume.blocks[operation->first + i];
        operation->handles.push_back(
            operation->kind == Operation::Kind::kRead
                ? history.begin_read(tick(), note)
                : history.begin_write(operation->first_sector, operation->sectors, operation->value, tick(), note));
    }
    if (operation->kind == Operation::Kind::kWrite) operation->data = contents(volume, *operation);
    operation->server = server;
    operation->begun = world_.now();
    while (!out_.empty() && out_.front().expired()) out_.pop_front();
    out_.push_back(operation);
    last_[client] = operation;
    auto task = carry_out(clients_.take_turn(client), this, std::move(device), std::move(operation));
    doors_ ? doors_->spawn(volume.name, std::move(task)) : mesh_.spawn(server, std::move(task));
}

Task<Result<BufferChain>> Workload::issue(BlockDevice* device, Operation* operation) {
    u64 const bytes = operation->blocks * operation->sectors * k_sector;
    if (operation->kind == Operation::Kind::kRead)
        co_return co_await device->read(operation->offset, static_cast<u32>(bytes));
    if (operation->kind == Operation::Kind::kTrim) {
        CO_TRY_VOID(co_await device->trim(operation->offset, bytes, false));
    } else {
        CO_TRY_VOID(co_await device->write(operation->offset, BufferChain(operation->data), false));
    }
    co_return BufferChain();
}

Task<void> Workload::carry_out(std::unique_ptr<Clients::Turn> turn, Workload* self,
                               std::shared_ptr<BlockDevice> device, std::shared_ptr<Operation> operation) {
    auto result = co_await issue(device.get(), operation.get());
    if (turn->is_heard()) self->ended(operation, std::move(result));
}

void Workload::ended(const std::shared_ptr<Operation>& operation, Result<BufferChain> result) {
    Volume& volume = volumes_[operation->volume];
    operation->has_ended = true;
    if (!result) {
        world_.stats().count("refused." + std::string(code_name(result.error().code)));
        bool const lost = result.error().code == Code::kLost || result.error().code == Code::kCorrupt;
        if (lost && !options_.losses &&
            !(bears_loss && operation->server != k_at_a_door && bears_loss(operation->server)))
            world_.fail("[linear] within the promise a request to " + volume.name +
                        " was answered: " + result.error().to_string());
        return;
    }
    if (operation->kind == Operation::Kind::kRead) {
        check_read(*operation, *result);
        world_.stats().count("read.answered");
    } else {
        for (usize i = 0; i < operation->blocks; ++i)
            volume.blocks[operation->first + i].end_write(operation->handles[i], tick());
        ++acknowledged_;
        world_.stats().count(operation->kind == Operation::Kind::kTrim ? "trim.acknowledged"
                                                                       : "write.acknowledged");
    }
    if (!on_answer || operation->server == k_at_a_door) return;
    auto stream = mesh_.stream_status(operation->server, volume.name);
    if (!stream) return;
    on_answer(Answer{operation->server, *std::move(stream), volume.name, operation->kind == Operation::Kind::kRead,
                     operation->begun});
}

std::optional<sim::VirtualTime> Workload::oldest_log_write(const std::string& volume, usize server) const {
    for (const std::weak_ptr<Operation>& each : out_) {
        auto const operation = each.lock();
        if (operation && !operation->has_ended && operation->kind == Operation::Kind::kWrite &&
            operation->blocks == 1 && operation->server == server && volumes_[operation->volume].name == volume)
            return operation->begun;
    }
    return std::nullopt;
}

void Workload::check_read(const Operation& operation, const BufferChain& data) {
    Volume& volume = volumes_[operation.volume];
    Buffer const flat = data.flatten();
    if (flat.size() != operation.blocks * k_block_bytes) {
        world_.fail("[linear] a read was answered with " + std::to_string(flat.size()) + " bytes");
        return;
    }
    for (usize block = 0; block < operation.blocks; ++block) {
        u64 const lba = volume.lbas[operation.first + block];
        auto const seen = decode(flat.bytes().subspan(block * k_block_bytes, k_block_bytes), lba);
        if (!seen) {
            world_.fail("[linear] a read of " + volume.name +
                        " was answered with bytes that nobody wrote there, block " + std::to_string(lba));
            return;
        }
        volume.blocks[operation.first + block].end_read(operation.handles[block], *seen, tick());
    }
}

std::optional<BlockState> Workload::decode(Bytes block, u64 lba) {
    CORELET_ASSERT(block.size() == k_block_bytes);
    BlockState out{};
    for (usize i = 0; i < k_history_sectors; ++i) {
        auto const value = value_of(block.subspan(i * k_sector, k_sector), lba * k_history_sectors + i);
        if (!value) return std::nullopt;
        out[i] = *value;
    }
    return out;
}

std::vector<Workload::Block> Workload::blocks() const {
    std::vector<Block> out;
    for (const Volume& volume : volumes_)
        for (usize i = 0; i < volume.blocks.size(); ++i)
            out.push_back({volume.name, volume.lbas[i], &volume.blocks[i]});
    return out;
}

// One try. False also when nobody serves the volume now.
bool Workload::read_one(usize v, usize block, Duration bound) {
    usize server = 0;
    auto device = pick_device(volumes_[v].name, &server);
    if (!device) return false;
    auto operation = std::make_shared<Operation>();
    operation->volume = v;
    operation->first = block;
    operation->server = server;
    operation->begun = world_.now();
    operation->offset = volumes_[v].lbas[block] * k_block_bytes;
    operation->handles.push_back(volumes_[v].blocks[block].begin_read(tick(), "at the end"));
    auto result =
        world_.run(mesh_.machine(server),
                   read_device(std::move(device), operation->offset, static_cast<u32>(k_block_bytes)), bound);
    if (!result) return false;
    bool const ok = result->has_value();
    ended(operation, *std::move(result));
    return ok;
}

bool Workload::read_back(Duration bound) {
    sim::VirtualTime const until = world_.now() + bound;
    for (usize v = 0; v < volumes_.size(); ++v)
        for (usize block = 0; block < volumes_[v].blocks.size();) {
            if (world_.now() >= until || world_.failed()) return false;
            if (read_one(v, block, 20_s))
                ++block;
            else
                world_.run_for(100_ms);
        }
    return true;
}

usize Workload::readable(Duration each) {
    usize out = 0;
    for (usize v = 0; v < volumes_.size(); ++v)
        for (usize block = 0; block < volumes_[v].blocks.size() && !world_.failed(); ++block)
            if (read_one(v, block, each))
                ++out;
            else
                world_.run_for(20_ms);
    return out;
}

std::optional<std::string> Workload::judge() const {
    for (const Volume& volume : volumes_)
        for (usize block = 0; block < volume.blocks.size(); ++block)
            if (auto const wrong = volume.blocks[block].judge())
                return volume.name + ", block " + std::to_string(volume.lbas[block]) + ": " + *wrong;
    return std::nullopt;
}

}  // namespace corelet
