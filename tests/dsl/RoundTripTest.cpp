// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Every spec of the repository is read, printed, read again and printed the same.

#include "SpecTexts.h"

#include "dsl/Presets.h"
#include "dsl/spec/SpecPrinter.h"
#include "dsl/text/Sha256.h"

#include <gtest/gtest.h>
#include <set>

using namespace moec;

namespace {

void expectRoundTrip(const std::string &label, const std::string &text, const std::string &dtype) {
  ReadOptions options;
  options.dtype = dtype;
  ReadResult first = readText(text, options);
  EXPECT_EQ(first.rendered(), "") << label;
  ASSERT_TRUE(first.spec) << label;
  std::string printed = printSpec(*first.spec);
  ReadResult second = readText(printed);
  EXPECT_EQ(second.rendered(), "") << label << "\n" << printed;
  ASSERT_TRUE(second.spec) << label;
  EXPECT_EQ(printSpec(*second.spec), printed) << label;
  EXPECT_EQ(specHash(*second.spec), specHash(*first.spec)) << label;
  EXPECT_FALSE(rolesOf(*first.spec).empty()) << label;
}

const std::string tinyCanonical = R"({
  "moec": 1,
  "name": "tiny",
  "hidden": 8,
  "router": {
    "select": {
      "k": 2
    },
    "normalize": {
      "kind": "sum"
    }
  },
  "experts": {
    "count": 4,
    "intermediate": 6
  }
}
)";

// Every block, every list, every alternative, no default value.
const std::string fullCanonical = R"({
  "moec": 1,
  "name": "full",
  "hidden": 64,
  "dtype": {
    "activation": "bf16",
    "weight": "f16",
    "output": "f32"
  },
  "router": {
    "input": {
      "norm": {
        "eps": 1e-05,
        "scale": 0.125,
        "weight": true
      },
      "jitter": 0.01,
      "jitter_scope": "layer",
      "from": "residual"
    },
    "bias": true,
    "logit_dtype": "f32",
    "transform": [
      {
        "op": "clamp",
        "min": -10,
        "max": 10
      },
      {
        "op": "softcap",
        "cap": 30
      },
      {
        "op": "temperature",
        "value": "learned"
      }
    ],
    "noise": {
      "kind": "normal",
      "std": 0.1,
      "when": "always"
    },
    "score": "sigmoid",
    "choice_bias": true,
    "groups": {
      "count": 4,
      "keep": 2,
      "score": "top2_sum",
      "masked": "neg_inf"
    },
    "select": {
      "k": 3
    },
    "normalize": {
      "kind": "sum",
      "eps": 1e-20,
      "eps_mode": "floor"
    },
    "random_replace": {
      "p": 0.5
    },
    "scale": 2.5,
    "expert_scale": true,
    "weight_dtype": "activation",
    "k_override": 1
  },
  "experts": {
    "count": 8,
    "intermediate": 32,
    "act": "silu",
    "act_alpha": 1.702,
    "up_offset": 1,
    "clamp": {
      "limit": 7,
      "at": "post_act"
    },
    "softcap": {
      "gate": 4,
      "up": 25
    },
    "bias": {
      "in": true,
      "out": true
    },
    "latent": {
      "dim": 48,
      "bias": true,
      "norm_in": {
        "kind": "rms",
        "eps": 1e-06,
        "weight": false
      },
      "norm_out": "rms"
    },
    "output_scale": 0.8,
    "hidden_dropout": {
      "p": 0.1,
      "eval": "scale"
    },
    "norm_out": {
      "kind": "rms",
      "unit_offset": true,
      "weight_at": "before",
      "per_expert": false
    },
    "lora": {
      "rank": 4,
      "alpha": 8,
      "at": "per_matrix"
    }
  },
  "shared": {
    "intermediate": 16,
    "count": 2,
    "reduce": "mean",
    "gate": "sigmoid",
    "scale": 0.5,
    "act_alpha": 1.702,
    "up_offset": 1,
    "clamp": {
      "limit": 10
    },
    "softcap": {
      "up": 3
    },
    "bias": {
      "in": true
    },
    "input": "residual"
  },
  "capacity": {
    "mode": "factor",
    "value": 1.25,
    "per_choice": false,
    "round": "nearest",
    "min": 4,
    "scope": "group",
    "group_size": 128,
    "order": "score",
    "major": "token",
    "overflow": "next_best",
    "dropped": "identity",
    "normalize_at": "after",
    "max": 64
  },
  "combine": {
    "bias": true,
    "accumulate": "activation",
    "rows": "activation",
    "norm_out": "layernorm"
  },
  "losses": [
    {
      "kind": "load_balance",
      "coef": 0.01,
      "probs": "normalized_score",
      "per_choice": true,
      "count": "first",
      "scope": "sequence",
      "dropped_as_expert0": true,
      "groups": 4
    },
    {
      "kind": "cv2",
      "of": "load",
      "variance": "sample",
      "eps": 1e-06
    }
  ],
  "reports": ["choice_counts", "diversity"],
  "update": {
    "kind": "bias_sign",
    "rate": 0.001
  },
  "layer": {
    "wrap": "depth",
    "capacity": 0.5,
    "scope": "batch",
    "residual": true
  },
  "passes": ["forward", "backward"],
  "save": "inputs",
  "frozen": ["router.weight", "experts.up[0:4]"],
  "weights": {
    "experts.down": {
      "tensor": "w2",
      "stack": "flat_rows",
      "axes": "in_out"
    },
    "experts.gate": {
      "tensor": "w13.{e}",
      "stack": "per_expert",
      "part": "even"
    },
    "experts.up": {
      "tensor": "w13.{e}",
      "stack": "per_expert",
      "part": "odd"
    }
  }
}
)";

} // namespace

TEST(spec_round_trip, golden_all_cases) {
  std::vector<GoldenSpec> specs = goldenSpecs();
  ASSERT_GE(specs.size(), 65u);
  for (const GoldenSpec &spec : specs)
    expectRoundTrip(spec.name, spec.text, spec.dtype);
}

TEST(spec_round_trip, presets_all) {
  std::set<std::string> wanted = {"mixtral-8x7b",     "mixtral-8x22b",  "qwen3-30b-a3b", "qwen3-235b-a22b",
                                  "deepseek-v2-lite", "deepseek-v2",    "deepseek-v3",   "kimi-k2",
                                  "gpt-oss-20b",      "gpt-oss-120b",   "olmoe-1b-7b",   "glm-4.5",
                                  "llama-4-scout",    "qwen2-57b-a14b", "grok-1",        "switch-base-128",
                                  "small-4x1",        "medium-8x2",     "large-16x2"};
  std::vector<std::string> names = presetNames();
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()), wanted);
  for (const std::string &name : names) {
    EXPECT_EQ(*presetText(name), fileText("dsl/presets/" + name + ".json")) << name;
    expectRoundTrip(name, *presetText(name), "");
    EXPECT_EQ(readText(*presetText(name)).spec->name, layerNameOf(name + ".json"));
  }
  EXPECT_FALSE(presetText("no-such-preset"));
  EXPECT_EQ(nearPresets("qwen3-30b-a33b"), std::vector<std::string>{"qwen3-30b-a3b"});
  EXPECT_EQ(nearPresets("mixtral"), (std::vector<std::string>{"mixtral-8x22b", "mixtral-8x7b"}));
  EXPECT_TRUE(nearPresets("").empty());
  EXPECT_TRUE(nearPresets("zzz").empty());
}

TEST(spec_round_trip, tiny_canonical_text) {
  ReadResult tiny = readText(fileText("examples/tiny.json"));
  ASSERT_TRUE(tiny.spec) << tiny.rendered();
  EXPECT_EQ(printSpec(*tiny.spec), tinyCanonical);
}

// A word, a block that says no more, and null.
TEST(spec_round_trip, norms_have_a_short_form) {
  auto printed = [](const std::string &norm) {
    ReadResult result =
        readText("{\"moec\": 1, \"name\": \"n\", \"hidden\": 8, \"router\": {\"top_k\": 1}, \"experts\": "
                 "{\"count\": 2, \"form\": \"linear\", \"norm_out\": " +
                 norm + "}}");
    EXPECT_TRUE(result.spec) << result.rendered();
    return result.spec ? printSpec(*result.spec) : "";
  };
  EXPECT_NE(printed("\"layernorm\"").find("\"norm_out\": \"layernorm\""), std::string::npos);
  EXPECT_EQ(printed("{\"kind\": \"layernorm\", \"eps\": 1e-5, \"weight\": true}"), printed("\"layernorm\""));
  EXPECT_EQ(printed("null").find("norm_out"), std::string::npos);
}

TEST(spec_round_trip, full_canonical_text) {
  ReadResult full = readText(fullCanonical);
  ASSERT_TRUE(full.spec) << full.rendered();
  std::string text = fullCanonical;
  text.erase(text.find("    \"act\": \"silu\",\n"), 19); // a default is left out
  EXPECT_EQ(printSpec(*full.spec), text);
  expectRoundTrip("full", fullCanonical, "");
}

TEST(spec_round_trip, keys_of_training) {
  for (const char *router :
       {R"("top_k": 2, "expert_dropout": {"p": 0.1, "at": "after"})",
        R"("top_k": 2, "weight_mode": "one", "straight_through": true, "random_replace": {"p": 0.5})",
        R"("select": {"kind": "sparsemixer", "eps": 0.1})"})
    expectRoundTrip(router,
                    std::string(R"({"moec": 1, "name": "t", "hidden": 8, "router": {)") + router +
                        R"(}, "inputs": {"expert_ids": )" +
                        (std::string(router).find("sparse") == std::string::npos ? "false" : "true") +
                        R"(}, "experts": {"count": 8, "intermediate": 6}, "passes": ["forward", "backward"]})",
                    "");
}

// A required key is written though its value is the one that it would have by default.
TEST(spec_round_trip, required_keys) {
  for (const char *groups : {R"({"count": 4, "keep": 1})", R"({"count": 1, "keep": 1})"})
    expectRoundTrip(groups,
                    std::string(R"({"moec": 1, "name": "g", "hidden": 8, "router": {"top_k": 1, "groups": )") + groups +
                        R"(}, "experts": {"count": 8, "intermediate": 6}})",
                    "");
}

// One request has one text, and so one hash, however it is written.
TEST(spec_round_trip, reports_that_mean_the_same) {
  const std::string layer = R"({"moec": 1, "name": "r", "hidden": 8, "router": {"kind": "KIND", "top_k": 2},
    "experts": {"count": 4, "intermediate": 6})";
  auto printed = [&](const char *kind, const std::string &more) {
    std::string text = layer + more + "}";
    ReadResult result = readText(text.replace(text.find("KIND"), 4, kind));
    EXPECT_TRUE(result.spec) << result.rendered();
    return result.spec ? printSpec(*result.spec) : "";
  };
  EXPECT_EQ(printed("token_choice", R"(, "reports": [])"), printed("token_choice", ""));
  EXPECT_EQ(printed("token_choice", R"(, "reports": ["diversity", "logit_max", "diversity"])"),
            printed("token_choice", R"(, "reports": ["logit_max", "diversity"])"));
  std::string all = printed("external", R"(, "reports": "all")");
  EXPECT_NE(all.find(R"("reports": "all")"), std::string::npos) << all;
  EXPECT_EQ(printed("external", R"(, "reports": ["choice_counts", "diversity", "dropped_tokens"])"), all);
  EXPECT_NE(printed("external", R"(, "reports": ["choice_counts", "diversity"])"), all);
}

// The hash identifies packed weights on disk: it changes only when the meaning or the vocabulary does.
TEST(spec_hash, tiny_is_stable) {
  ReadResult tiny = readText(fileText("examples/tiny.json"));
  ASSERT_TRUE(tiny.spec);
  EXPECT_EQ(hexText(specHash(*tiny.spec)), "d589d8991b2f1acd896c50be01dbe53d29eb0df1c9eb8857e1f89daa690340a7");
  EXPECT_EQ(specHash(*tiny.spec), sha256(tinyCanonical));
  LayerSpec other = *tiny.spec;
  other.experts.act = Activation::Gelu;
  EXPECT_NE(specHash(other), specHash(*tiny.spec));
}

// The type that rows have anyway is no other layer; a narrower one is.
TEST(spec_hash, rows_of_the_combine) {
  auto hashOf = [](const std::string &more) {
    ReadResult result = readText(R"({"moec": 1, "name": "r", "hidden": 8, "dtype": "bf16", "router": {"top_k": 2},
      "experts": {"count": 4, "intermediate": 6})" +
                                 more + "}");
    EXPECT_TRUE(result.spec) << result.rendered();
    return result.spec ? hexText(specHash(*result.spec)) : "";
  };
  EXPECT_EQ(hashOf(R"(, "combine": {"rows": "f32"})"), hashOf(""));
  EXPECT_NE(hashOf(R"(, "combine": {"rows": "activation"})"), hashOf(""));
}

TEST(sha256, known_digests) {
  EXPECT_EQ(hexText(sha256("")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(hexText(sha256("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hexText(sha256(std::string(1000000, 'a'))),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  for (size_t n : {55, 56, 63, 64, 65}) // around the place of the length
    EXPECT_NE(sha256(std::string(n, 'x')), sha256(std::string(n + 1, 'x')));
}

TEST(print_number, shortest_form) {
  EXPECT_EQ(printNumber(0.1), "0.1");
  EXPECT_EQ(printNumber(16), "16");
  EXPECT_EQ(printNumber(1e-20), "1e-20");
  EXPECT_EQ(printNumber(1.1920928955078125e-07), "1.1920928955078125e-07");
}
