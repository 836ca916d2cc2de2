#include "app/tool/json_file.h"

namespace corelet::app {

Json addresses_to_json(const std::vector<Address>& addresses) {
    Json out = Json::array();
    for (const Address& address : addresses) out.push_back(address.to_string());
    return out;
}

Result<std::vector<Address>> addresses_from_json(const Json& list) {
    std::vector<Address> out;
    for (const Json& text : list) {
        TRY(Address address, Address::parse(text.get<std::string>()));
        out.push_back(std::move(address));
    }
    return out;
}

}  // namespace corelet::app
