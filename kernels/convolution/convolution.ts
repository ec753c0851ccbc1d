import { FINISH_REGISTERS, finish, finishSetup, PARTIAL, RELU } from './finish.ts'
import { laneAddresses, multiplyFragments, multiplyScalars, sum } from './multiply.ts'
import { entry, header, type Lines, parameter, pointer, range, write } from './text.ts'
import { type ConvolutionTile, PIECE, PIECES, ROW, tileName, tileSizes } from './tile.ts'

/** The entry of what `convolutionPtx` writes. */
export const CONVOLUTION = 'convolution'
/** Parameters of `convolution` in order, with their types for `new Kernel`. */
export const CONVOLUTION_PARAMETERS = {
  input: 'pointer',
  filter: 'pointer',
  bias: 'pointer',
  residual: 'pointer',
  output: 'pointer',
  places: 'u32',
  channels: 'u32',
  height: 'u32',
  width: 'u32',
  outHeight: 'u32',
  outWidth: 'u32',
  pieces: 'u32',
  depth: 'u32',
  columns: 'u32',
  strideY: 'u32',
  strideX: 'u32',
  padY: 'u32',
  padX: 'u32',
  perPieces: 'u32',
  perColumns: 'u32',
  tilesN: 'u32',
  tilesOfPart: 'u32',
  flags: 'u32',
} as const

/** One kernel for convolutions of any size, with this tile. */
export function convolutionPtx(tile: ConvolutionTile): string {
  const { places, channels, threads, stage, sumsRow } = tileSizes(tile)
  const { warps, fragments, stages, arithmetic, cached } = tile
  const rows = threads / PIECES
  const placesLoads = places / rows
  const channelsLoads = Math.ceil(channels / rows)
  const uneven = channels % rows !== 0
  const groups = channels / 8
  const sums = 4 * fragments[0] * fragments[1]
  const scalar = arithmetic === 'f32'
  const warpPlaces = 16 * fragments[0]
  const warpChannels = 8 * fragments[1]
  if (places % rows !== 0 || fragments[1] % 2 !== 0)
    throw new Error(`a tile of ${places} x ${channels} does not suit ${threads} threads`)

  const body: Lines = [
    '.reg .pred  %outside, %inside, %more, %known, %partial',
    `.reg .pred  %channel<${channelsLoads}>`,
    '.reg .b32   %thread, %lane, %warp, %warpM, %warpN, %row, %column, %t, %u, %at, %size, %g, %q, %piece',
    '.reg .b32   %places, %channels, %height, %width, %outHeight, %outWidth, %pieces, %depth, %columns',
    '.reg .b32   %perPieces, %perColumns, %flags, %tilesN, %tileM, %tileN, %part, %m, %n, %i',
    '.reg .b32   %next, %now, %first, %end, %k, %tap, %dy, %dx, %y, %x, %strideY, %strideX, %padY, %padX',
    '.reg .b32   %shared, %reading, %readingEnd, %writing, %writingEnd, %laneA0, %laneA1, %laneB0, %laneB1',
    `.reg .b32   %y<${placesLoads}>, %x<${placesLoads}>`,
    '.reg .b64   %input, %filter, %offset, %from, %index, %wide',
    `.reg .b64   %place<${placesLoads}>, %weights<${channelsLoads}>`,
    `.reg .${scalar ? 'f32' : 'b32'}   %a<${scalar ? 8 * fragments[0] : 4 * fragments[0]}>, %b<4>`,
    `.reg .f32   %c<${sums}>`,
    FINISH_REGISTERS,
    '',
    '// 1. Which tile of the output, and which part of the depth.',
    'mov.u32 %thread, %tid.x',
    'mov.u32 %t, %ctaid.x',
    parameter('tilesN'),
    'div.u32 %tileM, %t, %tilesN',
    'mul.lo.u32 %u, %tileM, %tilesN',
    'sub.u32 %tileN, %t, %u',
    `mul.lo.u32 %tileM, %tileM, ${places}`,
    `mul.lo.u32 %tileN, %tileN, ${channels}`,
    parameter('depth'),
    `add.u32 %end, %depth, ${PIECES - 1}`,
    `shr.u32 %end, %end, ${Math.log2(PIECES)}`,
    'mov.u32 %part, %ctaid.z',
    parameter('tilesOfPart', '%t'),
    'mul.lo.u32 %first, %part, %t',
    'add.u32 %t, %first, %t',
    'min.u32 %end, %end, %t',
    '',
    '// 2. What this thread copies to shared memory: one piece of each stage of every',
    `//    ${rows}th row. Of each row of places: where its taps begin in the input; of channels: where its weights do.`,
    `and.b32 %column, %thread, ${PIECES - 1}`,
    `shr.u32 %row, %thread, ${Math.log2(PIECES)}`,
    parameter('places'),
    parameter('channels'),
    parameter('height'),
    parameter('width'),
    parameter('outHeight'),
    parameter('outWidth'),
    parameter('pieces'),
    parameter('columns'),
    parameter('strideY'),
    parameter('strideX'),
    parameter('padY'),
    parameter('padX'),
    parameter('perPieces'),
    parameter('perColumns'),
    parameter('flags'),
    pointer('input'),
    pointer('filter'),
    `shl.b32 %size, %pieces, ${Math.log2(PIECE)}`,
    range(placesLoads).map(i => [
      `add.u32 %m, %tileM, %row`,
      i === 0 ? [] : `add.u32 %m, %m, ${i * rows}`,
      'setp.ge.u32 %outside, %m, %places',
      'div.u32 %t, %m, %outWidth',
      'mul.lo.u32 %u, %t, %outWidth',
      'sub.u32 %x, %m, %u',
      'div.u32 %i, %t, %outHeight',
      'mul.lo.u32 %u, %i, %outHeight',
      'sub.u32 %y, %t, %u',
      'mul.lo.u32 %y, %y, %strideY',
      'sub.u32 %y, %y, %padY',
      'mul.lo.u32 %x, %x, %strideX',
      `sub.u32 %x${i}, %x, %padX`,
      'mad.lo.u32 %t, %i, %height, %y',
      `mad.lo.u32 %t, %t, %width, %x${i}`,
      `mul.wide.s32 %place${i}, %t, %size`,
      `add.s64 %place${i}, %place${i}, %input`,
      '// A place beyond the last has no row of the input.',
      `selp.u32 %y${i}, 0x40000000, %y, %outside`,
    ]),
    `mul.wide.u32 %offset, %depth, ${PIECE}`,
    range(channelsLoads).map(i => [
      `add.u32 %n, %tileN, %row`,
      i === 0 ? [] : `add.u32 %n, %n, ${i * rows}`,
      `setp.lt.u32 %channel${i}, %n, %channels`,
      'cvt.u64.u32 %wide, %n',
      `mul.lo.u64 %weights${i}, %wide, %offset`,
      `add.s64 %weights${i}, %weights${i}, %filter`,
    ]),
    'mov.u32 %shared, stages',
    'shr.u32 %t, %row, 1',
    'and.b32 %t, %t, 3',
    'xor.b32 %t, %t, %column',
    `shl.b32 %t, %t, ${Math.log2(PIECE)}`,
    `mad.lo.u32 %writing, %row, ${ROW}, %t`,
    'add.u32 %writing, %writing, %shared',
    '',
    '// 3. What this thread multiplies: its warp has a part of the tile.',
    'and.b32 %lane, %thread, 31',
    'shr.u32 %warp, %thread, 5',
    `div.u32 %warpM, %warp, ${warps[1]}`,
    `mul.lo.u32 %u, %warpM, ${warps[1]}`,
    'sub.u32 %warpN, %warp, %u',
    laneAddresses(tile),
    `mad.lo.u32 %laneA0, %warpM, ${ROW * warpPlaces}, %laneA0`,
    `mad.lo.u32 %laneB0, %warpN, ${ROW * warpChannels}, %laneB0`,
    `add.u32 %laneB0, %laneB0, ${ROW * places}`,
    scalar
      ? []
      : [
          '// The next two pieces.',
          `xor.b32 %laneA1, %laneA0, ${2 * PIECE}`,
          `xor.b32 %laneB1, %laneB0, ${2 * PIECE}`,
        ],
    range(sums).map(i => `mov.f32 %c${i}, 0f00000000`),
    '',
    `// 4. Through the depth. Copies are ${stages - 1} stages ahead: the first ${stages - 1} rounds only copy.`,
    'mov.u32 %next, %first',
    `sub.u32 %now, %first, ${stages - 1}`,
    'mov.u32 %reading, %shared',
    `add.u32 %readingEnd, %reading, ${stages * stage}`,
    `add.u32 %writingEnd, %writing, ${stages * stage}`,
    'ROUND:',
    '// The oldest stage is there, for all threads, and nobody reads the one that is written next.',
    `cp.async.wait_group ${stages - 2}`,
    'bar.sync 0',
    'setp.ge.u32 %outside, %next, %end',
    '@%outside bra COPIED',
    '// Which piece of which tap; beyond the depth, none.',
    `mad.lo.u32 %k, %next, ${PIECES}, %column`,
    'setp.lt.u32 %known, %k, %depth',
    'shl.b32 %t, %k, 1',
    'mul.hi.u32 %tap, %t, %perPieces',
    'shl.b32 %t, %tap, 1',
    'mul.hi.u32 %dy, %t, %perColumns',
    'mul.lo.u32 %t, %dy, %columns',
    'sub.u32 %dx, %tap, %t',
    'mul.lo.u32 %t, %tap, %pieces',
    'sub.u32 %piece, %k, %t',
    'mad.lo.u32 %t, %dy, %width, %dx',
    'mad.lo.u32 %t, %t, %pieces, %piece',
    `mul.wide.u32 %offset, %t, ${PIECE}`,
    'selp.u32 %dy, %dy, 0x20000000, %known',
    range(placesLoads).map(i => [
      `add.u32 %y, %y${i}, %dy`,
      `add.u32 %x, %x${i}, %dx`,
      'setp.lt.u32 %inside, %y, %height',
      'setp.lt.and.u32 %inside, %x, %width, %inside',
      `selp.u32 %size, ${PIECE}, 0, %inside`,
      `add.s64 %from, %place${i}, %offset`,
      'selp.u64 %from, %from, %input, %inside',
      `cp.async.${cached ? 'ca' : 'cg'}.shared.global [%writing+${ROW * rows * i}], [%from], ${PIECE}, %size`,
    ]),
    `mul.wide.u32 %offset, %k, ${PIECE}`,
    range(channelsLoads).map(i => {
      const last = uneven && i === channelsLoads - 1
      return [
        `and.pred %inside, %known, %channel${i}`,
        `selp.u32 %size, ${PIECE}, 0, %inside`,
        `add.s64 %from, %weights${i}, %offset`,
        'selp.u64 %from, %from, %filter, %inside',
        last ? [`setp.lt.u32 %more, %row, ${channels - i * rows}`] : [],
        `${last ? '@%more ' : ''}cp.async.${cached ? 'ca' : 'cg'}.shared.global [%writing+${ROW * (places + rows * i)}], [%from], ${PIECE}, %size`,
      ]
    }),
    `add.u32 %writing, %writing, ${stage}`,
    'setp.ge.u32 %more, %writing, %writingEnd',
    `@%more sub.u32 %writing, %writing, ${stages * stage}`,
    'COPIED:',
    '// A group a round, if an empty one: so that what is waited for is counted from the end.',
    'cp.async.commit_group',
    'add.u32 %next, %next, 1',
    'add.u32 %now, %now, 1',
    'setp.le.s32 %more, %now, %first',
    '@%more bra ROUND',
    scalar ? multiplyScalars(tile) : multiplyFragments(tile),
    `add.u32 %reading, %reading, ${stage}`,
    'setp.ge.u32 %more, %reading, %readingEnd',
    `@%more sub.u32 %reading, %reading, ${stages * stage}`,
    'setp.lt.u32 %more, %now, %end',
    '@%more bra ROUND',
    '',
    '// 5. The sums go through shared memory, so that a thread has eight channels of a place.',
    'cp.async.wait_all',
    'bar.sync 0',
    'shr.u32 %g, %lane, 2',
    'and.b32 %q, %lane, 3',
    `mad.lo.u32 %t, %warpM, ${warpPlaces}, %g`,
    `mad.lo.u32 %at, %t, ${sumsRow}, %shared`,
    `mad.lo.u32 %at, %warpN, ${4 * warpChannels}, %at`,
    'mad.lo.u32 %at, %q, 8, %at',
    range(fragments[0]).map(m =>
      range(2).map(half =>
        range(fragments[1]).map(
          n =>
            `st.shared.v2.f32 [%at+${sumsRow * (16 * m + 8 * half) + 32 * n}], ` +
            `{${sum(tile, m, n, 2 * half)}, ${sum(tile, m, n, 2 * half + 1)}}`,
        ),
      ),
    ),
    'bar.sync 0',
    finishSetup,
    `and.b32 %t, %flags, ${PARTIAL}`,
    'setp.ne.u32 %partial, %t, 0',
    'mov.u32 %i, %thread',
    'STORE:',
    `div.u32 %row, %i, ${groups}`,
    `mul.lo.u32 %t, %row, ${groups}`,
    'sub.u32 %column, %i, %t',
    'add.u32 %m, %tileM, %row',
    'mad.lo.u32 %n, %column, 8, %tileN',
    'setp.ge.u32 %outside, %m, %places',
    'setp.ge.or.u32 %outside, %n, %channels, %outside',
    '@%outside bra STORED',
    `mad.lo.u32 %at, %row, ${sumsRow}, %shared`,
    'mad.lo.u32 %at, %column, 32, %at',
    'ld.shared.v4.f32 {%v0, %v1, %v2, %v3}, [%at]',
    'ld.shared.v4.f32 {%v4, %v5, %v6, %v7}, [%at+16]',
    '@%partial bra PARTIAL',
    'mul.wide.u32 %index, %m, %channels',
    'cvt.u64.u32 %wide, %n',
    'add.s64 %index, %index, %wide',
    finish(arithmetic),
    'bra STORED',
    'PARTIAL:',
    '// After the sums of the parts before.',
    'mul.wide.u32 %index, %part, %places',
    'cvt.u64.u32 %wide, %m',
    'add.s64 %index, %index, %wide',
    'cvt.u64.u32 %wide, %channels',
    'mul.lo.u64 %index, %index, %wide',
    'cvt.u64.u32 %wide, %n',
    'add.s64 %index, %index, %wide',
    'shl.b64 %index, %index, 2',
    'add.s64 %index, %index, %output',
    'st.global.v4.f32 [%index], {%v0, %v1, %v2, %v3}',
    'st.global.v4.f32 [%index+16], {%v4, %v5, %v6, %v7}',
    'STORED:',
    `add.u32 %i, %i, ${threads}`,
    `setp.lt.u32 %more, %i, ${(places * channels) / 8}`,
    '@%more bra STORE',
    'ret',
  ]
  const comment = `// ${tileName(tile)}: a convolution as a matrix product, ${arithmetic}; written by kernels/convolution.
//
// Contract
//   output[place, n] = act(sum over taps and channels c of input[place's tap, c] filter[n, tap, c] + bias[n] +
//   residual[place, n]), sums in float32; act is ReLU if flag ${RELU} is set. Input [images, height, width, c], filter
//   [n, taps down, taps across, c], output and residual [images, outHeight, outWidth, n], dense, of the same type,
//   aligned to 16 bytes, with c and n multiples of 8; bias in float32. Beyond its borders the input is zero.
//   With flag ${PARTIAL}: output[part, place, n] = the sum over the part's stages of the depth, in float32, and nothing else.
//   Grid (tiles of ${places} places x tiles of ${channels} channels (tilesN, the faster), 1, parts), block (${threads}, 1, 1).
//   Every element of the output is written; nothing else is. Sums are made in one order, whatever the tile.
//
// The depth is (tap, c), in pieces of 16 bytes; a stage is ${PIECES} pieces of ${places} rows of places, then of ${channels} rows of channels.
//
// Parameters
//   input, filter, bias, residual (0: none), output; places: images x outHeight x outWidth; channels: n; height, width
//   of an image; outHeight, outWidth; pieces of a place of the input; depth: taps x pieces; columns: taps across;
//   strideY, strideX; padY, padX; perPieces, perColumns: 2^31 / pieces and 2^31 / columns, rounded down, plus 1;
//   tilesN; tilesOfPart: stages of the depth in a part; flags
`
  return `${header(comment)}
.extern .shared .align 16 .b8 stages[];

${entry(CONVOLUTION, CONVOLUTION_PARAMETERS, threads)}
{
${write(body)}
}
`
}
