# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# bench_test.py MOEC -> the parts of the benchmark that need no GPU and no PyTorch: model, memory, report; others
# compile.
import contextlib
import io
import json
import os
import py_compile
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True  # the tree stays as it is
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]
import kernel_classes
import memory
import model
import report
import trained
from package_facts import Package, binomial

# Microseconds worked out by hand for these two layers, before the model read manifests: it stays within 8 % of them.
# They are of kernels that wait for each other, without a front, whose consumers multiply rows that are not there too.
TOKENS = [1, 8, 32, 128, 1024, 8192, 32768]
BY_HAND = {
    ("qwen3-30b-a3b", "h100"): [38, 190, 347, 425, 505, 1685, 6240],
    ("qwen3-30b-a3b", "h200"): [31, 127, 271, 301, 484, 1611, 6005],
    ("deepseek-v3", "h100"): [278, 1718, 4781, 7444, 7780, 16806, 58448],
    ("deepseek-v3", "h200"): [198, 1161, 3382, 5219, 7697, 16525, 57193],
}
NEAR = 0.08


class BenchTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.work = tempfile.mkdtemp()
        for name in ("qwen3-30b-a3b", "deepseek-v3"):
            flags = ["-q", "--target", "cuda:sm_90a", "--emit", "shared", "--max-tokens", "32768"]
            subprocess.run([MOEC, "compile", name, *flags, "-o", os.path.join(cls.work, name)], check=True,
                           stdout=subprocess.DEVNULL, cwd=cls.work)
            cls.compile_plain(name, flags)
        cls.compile_trained(flags)
        names = ("qwen3-30b-a3b", "deepseek-v3")
        cls.plain = {name: Package(os.path.join(cls.work, name + "-plain")) for name in names}
        cls.packages = {name: Package(os.path.join(cls.work, name)) for name in ("qwen3-30b-a3b", "deepseek-v3")}

    @classmethod
    def compile_plain(cls, name, flags):
        share = os.path.join(cls.work, name, "share", name.replace("-", "_"))
        with open(os.path.join(share, "schedule.txt")) as file:
            text = re.sub(r"early = \d", "early = 1", file.read()).replace("vacant = 2", "vacant = 1")
        schedule = os.path.join(cls.work, name + ".txt")
        with open(schedule, "w") as file:
            file.write(re.sub("front sm_90a .*", "front sm_90a none", text))
        out = os.path.join(cls.work, name + "-plain")
        subprocess.run([MOEC, "compile", name, *flags, "--schedule", schedule, "-o", out],
                       check=True, stdout=subprocess.DEVNULL, cwd=HERE)  # here no folder has a preset's name

    @classmethod
    def compile_trained(cls, flags):
        spec = os.path.join(cls.work, "trained.json")
        presets = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(HERE))), "dsl", "presets")
        trained.main(["spec", os.path.join(presets, "qwen3-30b-a3b.json"), spec])
        out = os.path.join(cls.work, "qwen3-30b-a3b-trained")
        subprocess.run([MOEC, "compile", spec, *flags, "-o", out], check=True, stdout=subprocess.DEVNULL, cwd=cls.work)
        cls.trained = Package(out)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.work)

    def test_near_what_was_worked_out_by_hand(self):
        for (name, gpu), want in BY_HAND.items():
            for tokens, microseconds in zip(TOKENS, want):
                seconds, _ = model.predict(self.plain[name], tokens, model.SPEC[gpu])
                faster, _ = model.predict(self.packages[name], tokens, model.SPEC[gpu])
                self.assertLess(faster, seconds, (name, gpu, tokens))
                self.assertLess(abs(seconds * 1e6 / microseconds - 1), NEAR, (name, gpu, tokens, seconds * 1e6))

    def test_bound_is_least_and_more_tokens_take_longer(self):
        for name, package in self.packages.items():
            for gpu in model.SPEC.values():
                before = 0
                for tokens in [2 ** i for i in range(16)]:
                    seconds, bound = model.predict(package, tokens, gpu)
                    self.assertLessEqual(bound, seconds, (name, tokens))
                    self.assertLessEqual(before, seconds, (name, tokens))
                    before = seconds

    def test_shared_expert_is_counted_once_wherever_it_runs(self):
        package = self.packages["deepseek-v3"]
        for tokens in (16, 17):  # in one launch with the routed ones, and alone
            weights = 3 * 7168 * 2048 * 2 * (256 * (1 - (1 - 8 / 256) ** tokens) + 1)
            stages = model.stages(package, tokens, model.SPEC["h100"])
            read = sum(took for _, took, cause in stages if cause == "dram")
            self.assertAlmostEqual(read * 3.0e12 / weights, 1, delta=0.02)

    def test_backward_is_predicted_launch_by_launch(self):
        forward, backward = self.trained.passes()
        gpu = model.SPEC["h200"]
        self.assertEqual({launch.row["step"] for launch in backward.launches}, set(range(len(backward.steps))))
        self.assertEqual(model.experts_flops(backward, 512), 2 * model.experts_flops(forward, 512))
        before = 0
        for tokens in [2 ** i for i in range(15)]:
            made = model.stages(backward, tokens, gpu)
            self.assertEqual([launch for launch, _, _ in made], backward.launches_at(tokens))
            seconds, bound = model.predict(backward, tokens, gpu)
            self.assertLessEqual(bound, seconds, tokens)
            self.assertLessEqual(before, seconds, tokens)
            before = seconds

    def test_outer_products(self):
        gpu = model.SPEC["h200"]
        outers = [launch for launch in self.trained.backward.launches if launch.outer and launch.outer.routed]
        self.assertEqual(len(outers), 3)
        for launch in outers:
            self.assertEqual(launch.outer.area * 2, launch.step["flops_per_row"])
            outer = launch.outer
            self.assertEqual((outer.groups, outer.rows_per_token, outer.area), (128, 8, 768 * 2048))
            # one token: the gradients of all 128 experts are written
            few, cause = model.outer_seconds(self.trained.backward, launch, 1, gpu, 4)
            self.assertEqual(cause, "dram")
            self.assertAlmostEqual(few * gpu["dram"] / (128 * 768 * 2048 * 4), 1, delta=0.02)
            halves, _ = model.outer_seconds(self.trained.backward, launch, 1, gpu, 2)
            self.assertAlmostEqual(few / halves, 2, delta=0.03)
            # many: 2 * 65536 rows of 768 * 2048 products, no faster than the tensor cores
            many, _ = model.outer_seconds(self.trained.backward, launch, 8192, gpu, 4)
            least = 2 * 65536 * 768 * 2048 / gpu["peak"]
            self.assertTrue(least < many < 3 * least, (many, least))

    def test_classes_of_both_passes(self):
        found = list(kernel_classes.classes_of(self.trained))
        self.assertEqual(len(found), sum(len(one.launches) for one in self.trained.passes()))
        backward = {launch.symbol for launch in self.trained.backward.launches}
        self.assertEqual({launch.symbol for launch, text in found if text.startswith("sm_90a backward ")}, backward)
        dgrads = {text for launch, text in found if "_dgrad_t" in launch.symbol}
        self.assertTrue(dgrads and all(" depth-first " in text for text in dgrads), dgrads)
        # a case that is checked at few T has the classes that these reach, and no others
        folder = os.path.join(self.work, "qwen3-30b-a3b-trained")
        with open(folder + ".tokens", "w") as file:
            file.write("3 8192\n")
        text = io.StringIO()
        with contextlib.redirect_stdout(text):
            kernel_classes.main(["of", "bench", "case=" + folder])
        os.remove(folder + ".tokens")
        lines = text.getvalue()
        self.assertIn("_experts_up_dgrad_t3 ", lines)
        self.assertIn("_experts_up_dgrad_t1537 ", lines)
        self.assertNotIn("_experts_up_dgrad_t65 ", lines)
        self.assertNotIn("_experts_up_t193 ", lines)

    def test_rows_of_groups(self):
        for trials, chance in ((1, 1.0), (8, 0.5), (32768, 8 / 128), (4, 8 / 384)):
            counts = binomial(trials, chance)
            self.assertAlmostEqual(sum(p for _, p in counts), 1, places=9)
            self.assertAlmostEqual(sum(n * p for n, p in counts), trials * chance, places=5)

    def test_memory_of_a_row(self):
        package = self.packages["deepseek-v3"]
        weights = package.manifest["cuda"]["packed_weights_bytes"]
        need = memory.row_bytes(32768, 8, 7168, 2048, package.workspace_bytes(32768))
        self.assertLess(2 * weights + need["layer"], 80e9)  # packed ones and PyTorch's
        small = memory.row_bytes(1, 8, 7168, 2048, package.workspace_bytes(1))
        self.assertLess(small["layer"] + small["peer"], 10e6)

    def test_report(self):
        bundle = os.path.join(self.work, "bundle")
        case = os.path.join(bundle, "bench", "qwen3-30b-a3b")
        shutil.copytree(os.path.join(self.work, "qwen3-30b-a3b", "share", "qwen3_30b_a3b"), case)
        shutil.copytree(case, case + "-lag2")
        shutil.copytree(os.path.join(self.work, "qwen3-30b-a3b-trained", "share", "qwen3_30b_a3b"), case + "-trained")
        targets = self.packages["qwen3-30b-a3b"].manifest["cuda"]["targets"]
        kernels = [launch["kernel"] for target in targets for launch in target["launches"]]
        down = next(name for name in kernels if name.endswith("_experts_down_t3"))
        name, wgrad = "qwen3-30b-a3b-trained", "moec_qwen3_30b_a3b__8_experts_up_wgrad"
        results, bench = os.path.join(self.work, "results.txt"), os.path.join(self.work, "bench.jsonl")
        with open(results, "w") as file:
            file.write("device: NVIDIA H200, sm_90\ncall qwen3-30b-a3b 8 150.00\ncall qwen3-30b-a3b 32 300.00\n"
                       f"stage qwen3-30b-a3b 8 {down} 264 384 104544 1 4.00\n"
                       f"call {name}/saving 8192 1546.19\ncall {name}/backward 8192 6184.75\n"
                       f"stage {name}/backward 8192 {wgrad} 4096 256 131072 1 3092.00\n"
                       f"stage {name}/backward 8192 moec_qwen3_30b_a3b__2_dgrad 4096 256 131072 1 3092.00\n"
                       "stage cut off\n")
        times = lambda us: {"us_median": us, "us_low": us, "us_high": us}
        head = {"case": "qwen3-30b-a3b", "routing": "uniform", "tokens": 8}
        ceilings = {"torch": "2", "device": "NVIDIA H200", "copy_gbps": 4300.0}
        rows = [{"row": "ceilings", "case": "qwen3-30b-a3b", **ceilings},
                {**head, "row": "layer", "difference": {"moec": 2e-3}, "errors": {"grouped_mm": "not there"},
                 "times": {"moec": times(140.0), "qwen3-30b-a3b-lag2": times(150.0), "cublas_loop": times(900.0)}},
                {**head, "row": "FAIL", "why": "lag2: wrong"}]
        with open(bench, "w") as file:
            file.write("\n".join(map(json.dumps, rows)) + "\n{\"row\": \"lay")
        text = io.StringIO()
        with contextlib.redirect_stdout(text):
            self.assertEqual(report.main([bundle, results, bench]), 0)
        lines = text.getvalue().splitlines()
        find = lambda *words: [line for line in lines if all(word in line for word in words)]
        self.assertIn("predicted for h200", lines[0])
        self.assertTrue(find("qwen3-30b-a3b ", "uniform", " 8 ", "140.0", "900.0"))
        self.assertTrue(find("qwen3-30b-a3b-lag2 ", "150.0"))
        # 2 x 618.5 GFLOP of 8192 tokens
        predicted = model.predict(self.trained.backward, 8192, model.SPEC["h200"], 2)[0] * 1e6
        self.assertTrue(find(name + " ", "8192", " backward", "%.1f" % predicted, "6184.8", " 4.00 ", " 200 ", " 25%"))
        self.assertTrue(find("8_experts_up_wgrad", "4096", "3092.0", " 50.0%  l2"))
        self.assertTrue(find("2_dgrad", "3092.0", "not predicted"))
        self.assertFalse(find(name + "/backward ", "uniform"))
        self.assertTrue(find("qwen3-30b-a3b ", " 32 ", "300.0~"))  # of the profile, where the benchmark has none
        self.assertTrue(find("_experts_down_t3", "4.0", "(2 assumed)"))
        self.assertTrue(find("FAIL qwen3-30b-a3b uniform T=8: lag2: wrong"))
        self.assertTrue(find("grouped_mm has no time: not there"))

    def test_programs_with_torch_compile(self):
        for folder in (HERE, os.path.dirname(HERE)):
            for name in os.listdir(folder):
                if name.endswith(".py"):
                    py_compile.compile(os.path.join(folder, name), os.path.join(self.work, "compiled"), doraise=True)


if __name__ == "__main__":
    MOEC = os.path.abspath(sys.argv.pop(1))
    unittest.main()
