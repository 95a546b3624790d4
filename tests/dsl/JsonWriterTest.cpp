// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Documents as text: form, escapes, numbers.

#include "dsl/text/JsonWriter.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>

using namespace moec;

namespace {

void document(JsonWriter &json) {
  json.object([&] {
    json.attribute("text", "a");
    json.attribute("yes", true);
    json.attribute("least", std::numeric_limits<int64_t>::min());
    json.attribute("most", std::numeric_limits<uint64_t>::max());
    json.attributeArray("list", [&] {
      json.value(1.5);
      json.array([] {});
      json.object([&] { json.attribute("nothing", nullptr); });
      json.rawValue("[1, 2]");
    });
    json.attributeObject("empty", [] {});
    json.rawAttribute("raw", "0.50");
  });
}

TEST(JsonWriter, one_line) {
  std::ostringstream out;
  JsonWriter json(out);
  document(json);
  EXPECT_EQ(out.str(), R"({"text":"a","yes":true,"least":-9223372036854775808,"most":18446744073709551615,)"
                       R"("list":[1.5,[],{"nothing":null},[1, 2]],"empty":{},"raw":0.50})");
}

TEST(JsonWriter, indented) {
  std::ostringstream out;
  JsonWriter json(out, 2);
  document(json);
  EXPECT_EQ(out.str(), R"({
  "text": "a",
  "yes": true,
  "least": -9223372036854775808,
  "most": 18446744073709551615,
  "list": [
    1.5,
    [],
    {
      "nothing": null
    },
    [1, 2]
  ],
  "empty": {},
  "raw": 0.50
})");
}

TEST(JsonWriter, any_text_is_json) {
  std::string all;
  for (int c = 0; c < 256; ++c)
    all += char(c);
  all += "\"\\ \xe2\x82\xac \xf0\x9f\x98\x80 \xed\xa0\x80 \xe2\x82";
  std::ostringstream out;
  JsonWriter(out).value(all);
  nlohmann::json read = nlohmann::json::parse(out.str(), nullptr, false);
  ASSERT_TRUE(read.is_string()) << out.str();
  EXPECT_EQ(read.get<std::string>().substr(0, 128), all.substr(0, 128));
  EXPECT_NE(read.get<std::string>().find("\xe2\x82\xac \xf0\x9f\x98\x80"), std::string::npos);
}

TEST(JsonWriter, numbers_read_back) {
  for (double v : {0.0, -1.0, 0.1, 1e300, 5e-324, 123456789.123}) {
    std::ostringstream out;
    JsonWriter(out).value(v);
    EXPECT_EQ(std::strtod(out.str().c_str(), nullptr), v) << out.str();
  }
  std::ostringstream out;
  JsonWriter json(out);
  json.array([&] { json.value(NAN), json.value(INFINITY); });
  EXPECT_EQ(out.str(), "[null,null]");
}

} // namespace
