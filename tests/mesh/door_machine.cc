#include "tests/mesh/door_machine.h"

#include "base/json.h"

namespace corelet {

namespace {
// As tools do: whoever answers.
class AnyPeer final : public HelloPolicy {
  public:
    [[nodiscard]] Hello local_hello() override { return {}; }
    [[nodiscard]] Result<void> judge(const Hello& /*remote*/, const PeerContext& /*context*/) override {
        return {};
    }
};
}  // namespace

// In the main task's frame: when the machine crashes, nobody finds it any more.
struct DoorMachine::Life {
    AnyPeer policy;
    RpcNode rpc;
    FollowedVolume volume;
    DoorMachine& door;
    Life(Env& env, DoorMachine& its, FollowOptions options)
        : rpc(env, policy, RpcOptions{.insecure = true}), volume(env, rpc, std::move(options)), door(its) {
        door.volume_ = &volume;
    }
    Life(const Life&) = delete;
    Life& operator=(const Life&) = delete;
    ~Life() { door.volume_ = nullptr; }
};

DoorMachine::DoorMachine(SimMesh& mesh, std::string name, std::string volume)
    : mesh_(mesh),
      name_(std::move(volume)),
      key_(mesh.options().admin_key),
      index_(static_cast<u32>(mesh.world().node_count())),
      machine_(mesh.world().add_node(std::move(name))) {}

Task<void> DoorMachine::life(Env& env, DoorMachine* door, u64 number) {
    FollowOptions options;
    options.volume = door->name_;
    options.door = number;
    options.key = door->key_;
    for (usize i = 0; i < door->mesh_.size(); ++i)
        options.places.push_back(Address::tcp("c" + std::to_string(i + 1), 7000));
    Life const life(env, *door, std::move(options));
    Event never;
    co_await never.wait();
}

DoorMachine::Number DoorMachine::ask(usize corelet) {
    return mesh_.request(corelet, "volume.door", Json{{"name", name_}}.dump());
}

u64 DoorMachine::number_in(const std::string& answer) {
    return Json::parse(answer).value("door", u64{0});
}

void DoorMachine::begin(u64 number) {
    machine_.start([this, number](Env& env) { return life(env, this, number); });
}

bool DoorMachine::start() {
    auto const given = mesh_.command("volume.door", Json{{"name", name_}}.dump());
    if (!given) return false;
    begin(number_in(*given));
    return mesh_.world().run_until([this] { return volume_ != nullptr; }, 10_s);
}

}  // namespace corelet
