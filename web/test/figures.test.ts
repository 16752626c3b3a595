/** The rows and texts of results, against what is written by hand: run by tests/web/. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { channelPairs, differences, matched, milliseconds, placed, share, significant, whole } from "../src/report/figures";
import { commandLine, curl, python, quoted } from "../src/snippets-text";
import type { Point } from "../src/types";

const ORIGIN = "https://127.0.0.1:8443";
const TORCH = {
  call: "pt_prune",
  parameters: { percent: "0.4", ommitted: "stem,head", model_name: "Net", input_size: "1,28,28", restore: "false" },
  files: { weights: "my net.pth", class_def: "model.py", dataset: "loader.npz" },
};

test("numbers are written as people read them", () => {
  assert.equal(whole(1199882), "1,199,882");
  assert.equal(share(0.4973), "49.7%");
  assert.equal(milliseconds(0.8713), "0.87 ms");
  assert.equal(milliseconds(0.0412), "0.041 ms");
  assert.equal(milliseconds(31.26), "31.3 ms");
  assert.equal(significant(0.034567), "0.0346");
});

test("a word with a quote in it is one word of a shell", () => {
  assert.equal(quoted("a'b"), `'a'"'"'b'`);
  assert.equal(quoted("1,28,28"), "1,28,28");
});

test("a call is written for three places, each with its own names, and none holds a key", () => {
  assert.equal(
    commandLine(TORCH, ORIGIN),
    "coppice prune 'my net.pth' --percent 0.4 --omit stem,head --model-name Net --input-size 1,28,28 --no-restore " +
      "--class-def model.py --dataset loader.npz -o pruned",
  );
  const called = curl(TORCH, ORIGIN, true);
  assert.match(called, /api\/pt_prune\?percent=0\.4&ommitted=stem,head/);
  assert.match(called, /-F 'weights=@my net\.pth'/);
  assert.match(called, /\$COPPICE_CLIENT_SECRET/);
  assert.match(
    python(TORCH, ORIGIN, true),
    /client\.prune_pytorch\("my net\.pth", class_def="model\.py", samples="loader\.npz", percent=0\.4, omit=\["stem", "head"\]/,
  );
  assert.match(python(TORCH, ORIGIN, true), /restore=False/);
});

test("an earlier job stands for a model that was not sent again", () => {
  const asked = { call: "tf_quantize", parameters: { source_txid: "ab-1", precision: "int8" }, files: {} };
  assert.match(python(asked, ORIGIN, false), /client\.quantize_keras\(client\.job\("ab-1"\), precision="int8"\)/);
});

test("an inspection is of the framework that its files have", () => {
  const asked = { call: "inspect", parameters: {}, files: { model: "net.onnx" } };
  assert.match(python(asked, ORIGIN, false), /client\.inspect_onnx\("net\.onnx"\)/);
});

test("a group of several layers says how many more there are", () => {
  const group = { name: "stem", layers: ["stem", "block"], channels: 10, asked: 5, removed: 4, reason: null, parameters: null, macs: null };
  assert.deepEqual(channelPairs([group]), [{ name: "stem +1", before: 10, after: 6, note: undefined }]);
});

const point = (percent: number, precision: Point["precision"], x: number, y: number | null): Point => ({
  ...{ percent, precision, cost: null, quantized: null, cut: null, verification: null, optimal: false, artifacts: [], error: null },
  shares: { parameters: x, bytes: x },
  front: percent ? ["parameters"] : [],
  fidelity: { accuracy: y, agreement: null, error: null, distance: null },
});

test("a picture of parameters is of the cuts in floats, the cheapest first", () => {
  const points = [point(0, "float32", 1, 0.9), point(0.4, "float32", 0.5, 0.8), point(0.4, "int8", 0.5, 0.7), point(0.6, "float32", 0.3, null)];
  assert.deepEqual(placed(points, "parameters", "accuracy").map(({ x, y, front }) => [x, y, front]), [
    [0.5, 0.8, true],
    [1, 0.9, false],
  ]);
  assert.equal(placed(points, "bytes", "accuracy").length, 3);
});

test("two jobs are told apart by what they were asked, and matched by their layers", () => {
  assert.deepEqual(differences({ percent: "0.4", seed: "1" }, { percent: "0.5", seed: "1", target: "macs" }), [
    ["percent", "0.4", "0.5"],
    ["target", undefined, "macs"],
  ]);
  assert.deepEqual(matched([{ name: "a", before: 9, after: 4 }], [{ name: "b", before: 9, after: 5 }]), [
    { name: "a", before: 4, after: 0 },
    { name: "b", before: 0, after: 5 },
  ]);
});
