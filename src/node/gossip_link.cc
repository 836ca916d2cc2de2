#include "node/gossip_link.h"

#include <numeric>

#include "base/codec.h"

namespace corelet {

namespace {

constexpr std::string_view k_magic = "CLG1";
constexpr std::string_view k_socket_suffix = ".gossip";
constexpr usize k_head_bytes = k_magic.size() + sizeof(MacTag);

std::string purpose_of(MeshId mesh) {
    return "gossip of mesh " + hex64(mesh.v) + " " + std::string(k_magic);
}

}  // namespace

Address gossip_address(const Address& listening) {
    Address out = listening;
    if (out.kind == Address::Kind::kUnix) out.host += k_socket_suffix;
    return out;
}

GossipSeal::GossipSeal(MeshId mesh, std::string_view mesh_secret) : key_(mesh_secret, purpose_of(mesh)) {}

std::vector<u8> GossipSeal::seal(const mesh::GossipMessage& message) const {
    auto const body = mesh::encode_gossip(message);
    MacTag const tag = key_.tag(body);
    Writer w;
    w.put_raw(as_bytes(k_magic)).put_raw(tag).put_raw(body);
    return std::move(w.mutable_data());
}

Result<mesh::GossipMessage> GossipSeal::open(Bytes datagram) const {
    bool const whole = datagram.size() > k_head_bytes && as_text(datagram.first(k_magic.size())) == k_magic;
    if (!whole) return fail(Code::kDenied, "gossip: a datagram of another protocol");
    Bytes const body = datagram.subspan(k_head_bytes);
    if (!key_.verify(datagram.subspan(k_magic.size(), sizeof(MacTag)), body))
        return fail(Code::kDenied, "gossip: a datagram that is not authentic");
    return mesh::decode_gossip(body);
}

GossipLink::GossipLink(Env& env, MeshId mesh, std::string_view mesh_secret, Receiver receive, Moved moved)
    : env_(env),
      seal_(mesh, mesh_secret),
      receive_(std::move(receive)),
      moved_(std::move(moved)),
      scope_(env.executor) {}

Result<void> GossipLink::bind(const Address& listening) {
    TRY(auto socket, env_.network.bind_datagram(gossip_address(listening)));
    sockets_.push_back(std::move(socket));
    scope_.spawn(receive_from(sockets_.back().get()));
    return {};
}

void GossipLink::set_addresses(CoreletId peer, std::vector<Address> listening) {
    Route& route = routes_[peer];
    if (route.addresses == listening) return;
    route = Route{std::move(listening)};
}

void GossipLink::forget_others(const std::set<CoreletId>& known) {
    std::erase_if(routes_, [&](const auto& item) { return !known.contains(item.first); });
}

void GossipLink::send(CoreletId to, const mesh::GossipMessage& message) {
    auto const found = routes_.find(to);
    if (found == routes_.end() || found->second.addresses.empty()) return;
    Route& route = found->second;
    if (message.wants_ack && std::exchange(route.pinged, true))
        route.turn = (route.turn + 1) % route.addresses.size();
    const Address& address = route.addresses[route.turn];
    if (message.wants_ack && std::exchange(route.asked, true)) ++route.unheard;
    DatagramSocket* const own = own_socket(address.kind, route);
    if (own) own->send(gossip_address(address), Buffer::copy_of(seal_.seal(message)));
}

// Where the peer was last heard: another of the own addresses may be lost. While it is not heard, all of them take
// turns, so that each meets each of the peer's.
DatagramSocket* GossipLink::own_socket(Address::Kind kind, const Route& route) const {
    std::vector<DatagramSocket*> fitting;
    usize heard = 0;
    for (auto const& socket : sockets_) {
        if (socket->local_address().kind != kind) continue;
        if (socket.get() == route.heard_at) heard = fitting.size();
        fitting.push_back(socket.get());
    }
    if (fitting.empty()) return nullptr;
    // In step with the peer's addresses some would never meet.
    usize const peers = route.addresses.size();
    usize const shift = std::gcd(peers, fitting.size()) > 1 ? route.unheard / peers : 0;
    return fitting[(heard + route.unheard + shift) % fitting.size()];
}

Task<void> GossipLink::receive_from(DatagramSocket* socket) {
    for (;;) {
        auto datagram = co_await socket->receive();
        if (!datagram) {
            log_warning(env_.log, "gossip.socket_failed", datagram.error().to_string());
            co_return;
        }
        take(datagram->data, socket);
    }
}

void GossipLink::take(Bytes datagram, DatagramSocket* at) {
    auto message = seal_.open(datagram);
    if (!message) {
        if (refused_++ == 0) log_warning(env_.log, "gossip.refused", message.error().message);
        return;
    }
    if (auto const route = routes_.find(message->from); route != routes_.end()) {
        route->second.heard_at = at;
        route->second.unheard = 0;
        route->second.asked = false;
    }
    // That it speaks does not show that it hears.
    if (message->acks != 0) answered(message->from);
    receive_(*std::move(message));
}

void GossipLink::answered(CoreletId peer) {
    auto const found = routes_.find(peer);
    if (found == routes_.end() || !std::exchange(found->second.pinged, false)) return;
    Route& route = found->second;
    if (std::exchange(route.answered, route.turn) != route.turn && moved_)
        moved_(peer, route.addresses[route.turn]);
}

}  // namespace corelet
