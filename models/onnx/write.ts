import { LAYERS } from '../architecture.ts'
import type { Convolution, Linear, Network } from '../network.ts'
import { type ClipSize, cutShape, layerRange } from '../shapes.ts'
import { type Encoded, Message } from './protobuf.ts'

// Numbers of onnx.proto: format and operator-set version, element, attribute and data location types.
const IR_VERSION = 8
const OPSET = 17
const FLOAT = 1
const ATTRIBUTE_INT = 2
const ATTRIBUTE_INTS = 7
const EXTERNAL = 1

/** Names of the graph's one input and one output. */
export const ONNX_INPUT = 'input'
export const ONNX_OUTPUT = 'output'

/** What to write of a network. */
export interface OnnxOptions {
  startIndex: number
  endIndex: number
  /** Size of a clip as it enters layer 1; the number of clips stays open. */
  clip: ClipSize
  /** `outside`: initializers have a name and a shape only, and whoever loads the model brings their data. */
  weights: 'inside' | 'outside'
}

export interface Initializer {
  readonly name: string
  readonly shape: readonly number[]
  readonly data: Float32Array
}

export interface OnnxModel {
  readonly model: Encoded
  /** What the model holds, or needs if its weights are outside. */
  readonly initializers: readonly Initializer[]
}

const attribute = (name: string, value: number | readonly number[]): Message =>
  typeof value === 'number'
    ? new Message().text(1, name).integer(3, value).integer(20, ATTRIBUTE_INT)
    : new Message().text(1, name).integers(8, value).integer(20, ATTRIBUTE_INTS)

/** A graph under construction: nodes and initializers in the order in which they are added. */
class Graph {
  readonly message = new Message()
  readonly initializers: Initializer[] = []

  node(
    operator: string,
    inputs: readonly string[],
    output: string,
    attributes: Record<string, number | readonly number[]> = {},
  ): string {
    const node = new Message()
    for (const input of inputs) node.text(1, input)
    node.text(2, output).text(3, output).text(4, operator)
    for (const [name, value] of Object.entries(attributes)) node.message(5, attribute(name, value))
    this.message.message(1, node)
    return output
  }

  initializer(name: string, shape: readonly number[], data: Float32Array): string {
    this.initializers.push({ name, shape, data })
    return name
  }
}

function addConvolution(graph: Graph, c: Convolution, rename: (value: string) => string): void {
  const output = rename(c.output)
  const weight = graph.initializer(`${c.name}.weight`, [c.channelsOut, c.channelsIn, ...c.kernel], c.weight)
  const bias = graph.initializer(`${c.name}.bias`, [c.channelsOut], c.bias)
  const sum = c.residual === undefined && !c.relu ? output : `${c.name}.convolved`
  graph.node('Conv', [rename(c.input), weight, bias], sum, {
    kernel_shape: c.kernel,
    strides: c.stride,
    pads: [...c.padding, ...c.padding],
  })
  if (c.residual === undefined) {
    if (c.relu) graph.node('Relu', [sum], output)
    return
  }
  const added = graph.node('Add', [sum, rename(c.residual)], c.relu ? `${c.name}.added` : output)
  if (c.relu) graph.node('Relu', [added], output)
}

function addLinear(graph: Graph, linear: Linear, input: string): void {
  const pooled = graph.node('GlobalAveragePool', [input], 'pooled')
  const features = graph.node('Flatten', [pooled], 'features', { axis: 1 })
  const weight = graph.initializer('linear.weight', [linear.classes, linear.features], linear.weight)
  const bias = graph.initializer('linear.bias', [linear.classes], linear.bias)
  graph.node('Gemm', [features, weight, bias], ONNX_OUTPUT, { transB: 1 })
}

/** Little-endian bytes of the data: memory of this machine as it is. */
const bytesOf = (data: Float32Array): Uint8Array =>
  new Uint8Array(data.buffer, data.byteOffset, data.byteLength)

function tensor(initializer: Initializer, weights: OnnxOptions['weights']): Message {
  const message = new Message().integers(1, initializer.shape).integer(2, FLOAT).text(8, initializer.name)
  if (weights === 'inside') return message.data(9, bytesOf(initializer.data))
  return message.message(13, new Message().text(1, 'location').text(2, 'rnb')).integer(14, EXTERNAL)
}

/** A value of the graph: an open number of clips, then the given dimensions. */
function value(name: string, shape: readonly number[]): Message {
  const dimensions = new Message().message(1, new Message().text(2, 'clips'))
  for (const size of shape) dimensions.message(1, new Message().integer(1, size))
  const type = new Message().integer(1, FLOAT).message(2, dimensions)
  return new Message().text(1, name).message(2, new Message().message(1, type))
}

/**
 * Writes a range of a network's layers as an ONNX model. Its input is [clips, channels, frames, height, width] as
 * layer `startIndex` takes it; its output is what layer `endIndex` gives: [clips, classes] after layer 5.
 * @throws {UsageError} for layers that the network does not have, or a clip too small for them
 */
export function writeOnnx(network: Network, options: OnnxOptions): OnnxModel {
  const { startIndex, endIndex, clip } = options
  const layers = layerRange(network, startIndex, endIndex)
  const graph = new Graph()
  const last = endIndex === LAYERS ? 'cut5' : ONNX_OUTPUT
  const rename = (name: string) =>
    name === `cut${startIndex - 1}` ? ONNX_INPUT : name === `cut${endIndex}` ? last : name
  for (const layer of layers) {
    for (const convolution of layer.convolutions) addConvolution(graph, convolution, rename)
    if (layer.linear) addLinear(graph, layer.linear, last)
  }
  graph.message.text(2, 'r2plus1d')
  for (const initializer of graph.initializers) graph.message.message(5, tensor(initializer, options.weights))
  graph.message.message(11, value(ONNX_INPUT, cutShape(network.architecture, startIndex - 1, clip)))
  graph.message.message(12, value(ONNX_OUTPUT, cutShape(network.architecture, endIndex, clip)))
  const property = (key: string, text: string) => new Message().text(1, key).text(2, text)
  const model = new Message()
    .integer(1, IR_VERSION)
    .text(2, 'rnb')
    .message(7, graph.message)
    .message(8, new Message().text(1, '').integer(2, OPSET))
    .message(14, property('architecture', JSON.stringify(network.architecture)))
    .message(14, property('layers', `${startIndex}-${endIndex}`))
  return { model: model.end(), initializers: graph.initializers }
}
