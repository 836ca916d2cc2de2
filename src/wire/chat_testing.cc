#include "wire/chat_testing.h"

#include "base/codec.h"
#include "rt/combine.h"

namespace corelet::testing {

namespace {

constexpr Method k_mirror{0xF040};

class ChatPolicy final : public HelloPolicy {
  public:
    ChatPolicy(u64 id, u64 nonce) {
        hello_.corelet = CoreletId(id);
        hello_.role = PeerRole::kCorelet;
        hello_.boot_nonce = nonce;
    }
    [[nodiscard]] Hello local_hello() override { return hello_; }
    [[nodiscard]] Result<void> judge(const Hello&, const PeerContext&) override { return {}; }

  private:
    Hello hello_;
};

// Answers with the question's bytes, some of the time after a while.
Task<Result<Reply>> mirror(Env* env, Request request) {
    if (env->random.chance(1, 8))
        co_await env->clock.sleep(Duration{static_cast<i64>(env->random.below(50'000'000))});
    co_return Reply{std::move(request.body), std::move(request.payload)};
}

bool is_pattern(const BufferChain& chain, u64 seed) {
    u64 at = 0;
    for (const Buffer& part : chain.parts()) {
        for (u8 const byte : part.bytes()) {
            if (byte != static_cast<u8>(seed + at++ * 31)) return false;
        }
    }
    return true;
}
Buffer pattern(usize size, u64 seed) {
    Buffer out = Buffer::allocate(size);
    u64 at = 0;
    for (u8& byte : out.mutable_bytes()) byte = static_cast<u8>(seed + at++ * 31);
    return out;
}

Task<void> keep_asking(Env* env, RpcNode* node, ChatSetup setup, ChatCounters* counters) {
    static constexpr usize k_sizes[] = {0, 200, 4096, 30'000, 300'000};
    for (;;) {
        auto whom = setup.addresses.begin();
        std::advance(whom, static_cast<std::ptrdiff_t>(env->random.below(setup.addresses.size())));
        u64 const number = env->random.next();
        usize const size = k_sizes[env->random.below(std::size(k_sizes))];
        Writer writer;
        writer.put(number);
        CallOptions options;
        options.deadline = env->clock.now() + 500_ms;
        options.traffic = env->random.chance(1, 4) ? TrafficClass::kHeal : TrafficClass::kClient;
        Result<Reply> const reply = co_await node->call(
            CoreletId(whom->first), k_mirror, Buffer::copy_of(writer.bytes()), pattern(size, number), options);
        if (env->clock.now() > options.deadline + 100_ms) ++counters->late;
        if (reply) {
            ++counters->answered;
            ++counters->answered_by[whom->first];
            Reader reader(reply->body);
            bool const same =
                reader.get<u64>() == number && reply->payload.size() == size && is_pattern(reply->payload, number);
            if (!same) ++counters->wrong;
        } else {
            ++counters->failed;
        }
        co_await env->clock.sleep(setup.pause);
    }
}

}  // namespace

Task<void> chat(Env* env, ChatSetup setup, ChatCounters* counters) {
    ++counters->booted;
    ChatPolicy policy(setup.id, env->random.next());
    RpcOptions options;
    options.own_uid = setup.own_uid;
    options.insecure = !setup.own_uid;
    RpcNode node(*env, policy, options);
    node.register_handler(k_mirror, [env](Request request) { return mirror(env, std::move(request)); });
    for (const auto& [id, address] : setup.addresses) node.set_addresses(CoreletId(id), {address});
    // The port may still be held by the process that crashed before.
    while (!node.listen(setup.addresses.at(setup.id), ListenOptions{.replace = true}))
        co_await env->clock.sleep(100_ms);
    Scope callers(env->executor);
    for (u64 i = 0; i < setup.callers; ++i) callers.spawn(keep_asking(env, &node, setup, counters));
    co_await callers.join();
}

}  // namespace corelet::testing
