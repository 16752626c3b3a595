// Written by types.mjs from docs/reference/*.schema.json: not to be edited.

/**
 * The family of calls that a request belongs to; the values are those of the documents.
 */
export type Framework = "pt" | "tf" | "onnx";
/**
 * What is to be done with the model.
 */
export type Task = "prune" | "inspect" | "sweep" | "quantize";
/**
 * How the cut is spread over the groups.
 */
export type Spread = "uniform" | "global";
/**
 * What `percent` is a share of.
 */
export type Target = "channels" | "params" | "macs" | "bytes" | "latency";
/**
 * How a number is kept.
 */
export type Precision = "float32" | "bfloat16" | "float16" | "int32" | "int8" | "int4" | "int2" | "int1";
/**
 * How the numbers that flow through a model are kept.
 */
export type Activations = "float32" | "bfloat16" | "float16" | "int8" | "uint8" | "dynamic";
/**
 * How weights become whole numbers.
 */
export type Rounding = "auto" | "nearest" | "clipped" | "gptq" | "adaround";
/**
 * The kinds of file that a quantized model is written as.
 */
export type Format = "onnx" | "tflite" | "safetensors";
/**
 * What an attention loses: every head some of its width, or some heads all of theirs.
 */
export type Heads = "width" | "whole";
/**
 * How far a verification reached.
 */
export type Check = "exact" | "statistics" | "none";
/**
 * How far outputs are from the original's.
 */
export type Distance = "js" | "mse";
/**
 * What a runtime computes a quantized model in.
 */
export type Arithmetic = "integer" | "mixed" | "float";
/**
 * A cost that is held against quality.
 */
export type Axis = "parameters" | "macs" | "bytes" | "file" | "latency";
/**
 * The figure of `Fidelity` that is the quality of a curve: the first that the samples give.
 */
export type Merit = "accuracy" | "error" | "agreement" | "distance";

export interface Accounts {
  Report?: Report;
  Sweep?: Sweep;
  Inspection?: Inspection;
}
/**
 * The whole account of one pruning; its summary is the layer table of the pruned model.
 */
export interface Report {
  /**
   * version of Coppice
   */
  coppice: string;
  request: Request;
  /**
   * of what computed, package -> version
   */
  versions: {
    [k: string]: string;
  };
  /**
   * the files of the request; none of a model that was live
   */
  inputs: {
    [k: string]: InputFile;
  };
  /**
   * channels that go together, with what went
   */
  groups: GroupReport[];
  /**
   * channels that no plan may remove
   */
  frozen: FrozenReport[];
  /**
   * the status message when done
   */
  summary: string;
  /**
   * what was left out, changed or could not be covered
   */
  notes: string[];
  /**
   * the files of the result
   */
  artifacts: Artifact[];
  verification: Verification;
  before: Cost;
  after: Cost;
  /**
   * where parameters and multiply-accumulates are, in the model's order
   */
  layers: LayerCosts[];
  /**
   * what decided which channels go
   */
  criterion: string;
  /**
   * None where no samples were sent
   */
  quality: Quality | null;
  /**
   * of the search that `max_drop` means, in their order
   */
  trials: Trial[];
  /**
   * of the quantized file, where one was asked for
   */
  quantized: Quantized | null;
  /**
   * what was not won though channels went
   */
  warnings: string[];
  /**
   * that latency was measured on
   */
  machine: Machine | null;
}
/**
 * One job: what to cut, or to look at, and from which files.
 */
export interface Request {
  framework: Framework;
  task: Task;
  /**
   * fraction of `target` to remove; with `max_drop`, at most; of a sweep, the largest
   */
  percent: number;
  /**
   * the fractions of a sweep, ascending
   *
   * @maxItems 32
   */
  percents: number[];
  /**
   * layers that keep their own output channels
   */
  omit: string[];
  /**
   * `auto`: obs where there are samples, l1 where there are none
   */
  criterion: string;
  spread: Spread;
  target: Target;
  /**
   * largest loss of accuracy, or of agreement with the original where there are no labels, as a fraction: the smallest model within it is looked for
   */
  max_drop: number | null;
  /**
   * widths that are cut become multiples of it
   */
  round_to: number;
  /**
   * layer, prefix or glob -> fraction of its channels, in place of `percent`
   */
  ratios: {
    [k: string]: number;
  };
  /**
   * layer -> numbers of output channels that stay whatever their score
   */
  keep: {
    [k: string]: number[];
  };
  /**
   * repair the kept weights where there are samples
   */
  restore: boolean;
  /**
   * of the weights, and of biases and activations what goes with it; of a cut, quantize what is left
   */
  precision: Precision | null;
  /**
   * of a sweep, each as `precision` of every ratio, float32 being what is not quantized; without ratios, of the model as it is
   *
   * @maxItems 32
   */
  precisions: Precision[];
  /**
   * of the weights alone
   */
  weights: Precision | null;
  /**
   * of the biases alone
   */
  biases: Precision | null;
  /**
   * of what flows through the model alone
   */
  activations: Activations | null;
  /**
   * layer, prefix or glob -> precision of its weights, in place of `weights`
   */
  layers: {
    [k: string]: Precision;
  };
  rounding: Rounding;
  /**
   * kind of the file with the quantized model
   */
  output_format: Format | null;
  seed: number;
  heads: Heads;
  /**
   * the inputs of one sample, no batch dimension
   */
  input_size: Input[] | null;
  /**
   * class to build from the class file
   */
  model_name: string | null;
  /**
   * arguments with which it is built, positional or named
   */
  model_args:
    | unknown[]
    | {
        [k: string]: unknown;
      };
  /**
   * the earlier job of the service whose result was taken as the files of the model
   */
  source_txid: string | null;
  /**
   * part -> file name as the user named it
   */
  files: {
    [k: string]: string;
  };
}
/**
 * One input of one sample, no batch dimension.
 */
export interface Input {
  shape: number[];
  /**
   * as torch names it; none: the type of the model's weights
   */
  dtype: string | null;
  /**
   * whole numbers from 0 up to this, not included
   */
  below: number | null;
  /**
   * the parameter of forward that is given this input by keyword
   */
  name: string | null;
}
/**
 * A file of the request, so that the job can be repeated on the very same.
 */
export interface InputFile {
  name: string;
  bytes: number;
  sha256: string;
}
/**
 * One coupled set of channels: what was asked of it, what was done.
 */
export interface GroupReport {
  /**
   * its first producer; with the positions of that layer's channels, as a slice, where several groups share the layer: attn.qkv[0:384]
   */
  name: string;
  /**
   * every layer whose output channels belong to the group
   */
  layers: string[];
  /**
   * units before the cut
   */
  channels: number;
  /**
   * units that the request means: by `percent`, or its ratio, or its spread and target
   */
  asked: number;
  /**
   * units removed
   */
  removed: number;
  /**
   * why another number was removed than asked
   */
  reason: string | null;
  /**
   * share of the model's parameters that the group's slices hold, of an inspection; a weight between two groups counts in both
   */
  parameters: number | null;
  /**
   * share of the model's multiply-accumulates, counted likewise, of an inspection
   */
  macs: number | null;
}
/**
 * Channels that no plan may remove, and why.
 */
export interface FrozenReport {
  /**
   * that have or read them
   */
  layers: string[];
  /**
   * how many
   */
  channels: number;
  /**
   * why they stay
   */
  reason: string;
}
/**
 * One file of a result.
 */
export interface Artifact {
  /**
   * what `artifact=` asks for
   */
  name: string;
  /**
   * file name in the result folder
   */
  file: string;
  media_type: string;
}
/**
 * The oracle's verdict: the dense model with the removed slots zeroed against the pruned model.
 */
export interface Verification {
  check: Check;
  dtype: string;
  max_relative_difference: number | null;
  tolerance: number | null;
  notes: string[];
}
/**
 * What a model costs to keep and to run.
 */
export interface Cost {
  parameters: number;
  /**
   * parameters and buffers as stored, in bytes
   */
  bytes: number;
  /**
   * multiply-accumulates of one sample
   */
  macs: number;
  /**
   * largest sum of the tensors alive at once in the forward pass of one sample, its input included and what is stored in the model not, bytes
   */
  activation_bytes: number | null;
  /**
   * of the file that was sent with the weights, and of the same kind of file given back
   */
  file_bytes: number | null;
  /**
   * median of one sample, milliseconds, both models by turns
   */
  latency_ms: number | null;
  /**
   * interquartile range, milliseconds
   */
  latency_spread_ms: number | null;
}
/**
 * One layer with parameters of its own, before and after the cut.
 */
export interface LayerCosts {
  name: string;
  before: LayerCost;
  after: LayerCost;
}
/**
 * What one layer adds to the costs.
 */
export interface LayerCost {
  parameters: number;
  /**
   * multiply-accumulates of one sample at its weights
   */
  macs: number;
}
/**
 * What the samples say of the cut, before and after the repair.
 */
export interface Quality {
  /**
   * that were used
   */
  samples: number;
  /**
   * of these, the ones that nothing was fitted to; all figures are of them
   */
  held_out: number;
  /**
   * the numbers of those in what was sent, from 0; where a loader's own sampler decides what comes, in its order
   */
  rows: number[];
  distance: Distance;
  before: Fidelity;
  cut: Fidelity;
  restored: Fidelity;
  /**
   * every way to give it back that was tried
   */
  candidates: Candidate[];
  /**
   * tensors whose weights were fitted
   */
  repaired: string[];
  /**
   * tensor -> why its weights were not
   */
  left: {
    [k: string]: string;
  };
}
/**
 * How good a model is on the samples that nothing was fitted to, and how near its outputs are to the original's.
 */
export interface Fidelity {
  /**
   * share of the samples classified as their labels say
   */
  accuracy: number | null;
  /**
   * share classified as the original does
   */
  agreement: number | null;
  /**
   * of a regression: mean squared error over the variance of the targets
   */
  error: number | null;
  /**
   * of the outputs from the original's, in the terms of `Quality.distance`; null where they are not numbers, or have other shapes: infinitely far
   */
  distance: number | null;
}
/**
 * One way to give the cut model back that was tried.
 */
export interface Candidate {
  /**
   * cut, batch_norm, least_squares or residual
   */
  method: string;
  fidelity: Fidelity;
  chosen: boolean;
}
/**
 * One cut that was tried on the way to the largest that keeps within `max_drop`.
 */
export interface Trial {
  /**
   * share of the prunable channels that went
   */
  share: number;
  /**
   * that were left
   */
  parameters: number;
  /**
   * what the repaired cut lost on the samples held out, in the terms of `max_drop`; null where its outputs were no numbers
   */
  drop: number | null;
  accepted: boolean;
}
/**
 * The account of a quantized file: what it holds, what its runtime does with it, and how good it is there.
 */
export interface Quantized {
  output_format: Format;
  /**
   * that ran the file, and its version
   */
  runtime: string;
  weights: Precision;
  biases: Precision;
  activations: Activations;
  /**
   * every layer that multiplies by stored weights
   */
  layers: LayerPrecision[];
  /**
   * of the file
   */
  file_bytes: number;
  /**
   * of the model that was quantized, in the same kind of file
   */
  float_file_bytes: number;
  /**
   * data type -> bytes of the tensors of that type in the file
   */
  bytes_by_type: {
    [k: string]: number;
  };
  arithmetic: Arithmetic;
  /**
   * that multiply by weights, as the runtime runs them
   */
  operators: {
    [k: string]: number;
  };
  /**
   * layer computed in floats though whole numbers were asked for -> why
   */
  floating: {
    [k: string]: string;
  };
  /**
   * of the file in its runtime, against the model as it was sent; on samples held out
   */
  fidelity: Fidelity | null;
  /**
   * likewise, of the model that was quantized
   */
  float_fidelity: Fidelity | null;
  /**
   * power of the outputs of the model that was quantized over that of the file's difference from them, decibels; null where they are equal
   */
  snr_db: number | null;
  /**
   * median of one sample in the runtime, milliseconds
   */
  latency_ms: number | null;
  /**
   * interquartile range, milliseconds
   */
  latency_spread_ms: number | null;
  /**
   * median of the float model in the same runtime, by turns, milliseconds
   */
  float_latency_ms: number | null;
  /**
   * interquartile range, milliseconds
   */
  float_latency_spread_ms: number | null;
  /**
   * of the search that `max_drop` means, in their order
   */
  trials: Raised[];
}
/**
 * How the weights of one layer are kept.
 */
export interface LayerPrecision {
  name: string;
  /**
   * of the model that was quantized
   */
  tensor: string;
  parameters: number;
  precision: Precision;
  /**
   * how its weights became whole numbers
   */
  rounding: Rounding | null;
  /**
   * why it is kept otherwise than was asked
   */
  reason: string | null;
}
/**
 * One try on the way to the smallest model within `max_drop`.
 */
export interface Raised {
  /**
   * how many are kept in each precision
   */
  layers: {
    [k: string]: number;
  };
  /**
   * of all weights
   */
  bytes: number;
  /**
   * what was lost on the samples held out; null where outputs were no numbers
   */
  drop: number | null;
  accepted: boolean;
}
/**
 * Where latency was measured.
 */
export interface Machine {
  processor: string;
  threads: number;
}
/**
 * The whole account of a sweep; its summary is the table of its points, and each point has a report of its own.
 */
export interface Sweep {
  /**
   * version of Coppice
   */
  coppice: string;
  request: Request;
  /**
   * of what computed, package -> version
   */
  versions: {
    [k: string]: string;
  };
  /**
   * the files of the request; none of a model that was live
   */
  inputs: {
    [k: string]: InputFile;
  };
  /**
   * channels that go together, with what went
   */
  groups: GroupReport[];
  /**
   * channels that no plan may remove
   */
  frozen: FrozenReport[];
  /**
   * the status message when done
   */
  summary: string;
  /**
   * what was left out, changed or could not be covered
   */
  notes: string[];
  /**
   * the files of the result
   */
  artifacts: Artifact[];
  /**
   * the model as it was sent, then by ratio and precision
   */
  points: Point[];
  /**
   * what quality is here; null where no samples were sent, and then no point is marked
   */
  merit: Merit | null;
  /**
   * samples that nothing was fitted to; quality is of them
   */
  held_out: number | null;
  /**
   * what `distance` of a fidelity is
   */
  distance: Distance | null;
  /**
   * what decided which channels go
   */
  criterion: string | null;
  /**
   * that latency was measured on
   */
  machine: Machine | null;
}
/**
 * One ratio in one precision: the model that came of it, or why none did.
 */
export interface Point {
  /**
   * as asked; 0 is the model as it was sent
   */
  percent: number;
  precision: Precision;
  /**
   * of the model in floats
   */
  cost: Cost | null;
  quantized: SmallFile | null;
  /**
   * what is left of each cost of the original; of latency by runs in pairs, so that whatever slows the machine slows both; of a quantized file, the share of the cut times that of the file in its runtime
   */
  shares: {
    [k: string]: number;
  };
  /**
   * of the model that is given back; of a quantized file, in its runtime
   */
  fidelity: Fidelity | null;
  /**
   * before its weights were repaired
   */
  cut: Fidelity | null;
  verification: Verification | null;
  /**
   * the costs on whose front the point is
   */
  front: Axis[];
  /**
   * whether no other point is better in all
   */
  optimal: boolean;
  /**
   * names of the point's own artifacts
   */
  artifacts: string[];
  /**
   * why there is no model
   */
  error: Failure | null;
}
/**
 * The quantized file of a point.
 */
export interface SmallFile {
  output_format: Format;
  /**
   * that ran the file, and its version
   */
  runtime: string;
  arithmetic: Arithmetic;
  file_bytes: number;
  /**
   * of the model that was quantized, in the same kind of file
   */
  float_file_bytes: number;
  /**
   * signal to noise of its outputs, those of the model that was quantized being signal
   */
  snr_db: number | null;
  /**
   * its time for one sample, as a share of the floats' in the same runtime
   */
  latency: number | null;
}
/**
 * Why a job ended without a result: an error of `coppice.errors` as data.
 */
export interface Failure {
  code: string;
  message: string;
  field: string | null;
}
/**
 * What could be pruned and what can't, before anything is cut; its summary is a table of both.
 */
export interface Inspection {
  /**
   * version of Coppice
   */
  coppice: string;
  request: Request;
  /**
   * of what computed, package -> version
   */
  versions: {
    [k: string]: string;
  };
  /**
   * the files of the request; none of a model that was live
   */
  inputs: {
    [k: string]: InputFile;
  };
  /**
   * channels that go together, with what went
   */
  groups: GroupReport[];
  /**
   * channels that no plan may remove
   */
  frozen: FrozenReport[];
  /**
   * the status message when done
   */
  summary: string;
  /**
   * what was left out, changed or could not be covered
   */
  notes: string[];
  /**
   * the files of the result
   */
  artifacts: Artifact[];
  /**
   * of the whole model
   */
  parameters: number;
  /**
   * multiply-accumulates of one sample
   */
  macs: number;
}
