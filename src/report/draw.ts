import { readFileSync } from 'node:fs'
import { initWasm, Resvg } from '@resvg/resvg-wasm'
import wasm from '../../node_modules/@resvg/resvg-wasm/index_bg.wasm' with { type: 'file' }
import font from '../../node_modules/dejavu-fonts-ttf/ttf/DejaVuSansCondensed.ttf' with { type: 'file' }
import library from '../../node_modules/echarts/dist/echarts.esm.min.js' with { type: 'file' }
import type { Chart } from './charts/chart.ts'
import { escaped } from './markup.ts'

/** As narrow as the fonts that a chart's texts are laid out for. */
const FONT = 'DejaVu Sans Condensed'
const WIDTH = 1000
const HEIGHT = 420
/** Pixels of a PNG file for each of the picture's. */
const SCALE = 2

/** With a title for those who hear it, and without the styles of a mouse that is over it. */
const standalone = (svg: string, title: string): string =>
  svg
    .replace(/<style ?><!\[CDATA\[.*?\]\]>\s*<\/style>\n?/s, '')
    .replace(
      /^<svg[^>]*>/,
      opening =>
        `${opening.slice(0, -1)} role="img" aria-label="${escaped(title)}"><title>${escaped(title)}</title>`,
    )

/** The picture as SVG, with its title in it. */
export async function drawSvg({ title, option }: Chart): Promise<string> {
  const echarts: typeof import('echarts') = await import(library)
  const chart = echarts.init(null, null, { renderer: 'svg', ssr: true, width: WIDTH, height: HEIGHT })
  try {
    const below = option.legend ? { ...option.legend, top: 34 } : undefined
    chart.setOption({
      ...option,
      backgroundColor: '#ffffff',
      title: { text: title, left: 'center', top: 6, textStyle: { fontSize: 15 } },
      ...(below && { legend: below }),
      grid: { ...option.grid, top: below ? 76 : 46 },
    })
    return standalone(chart.renderToSVGString(), title)
  } finally {
    // It would keep the process alive otherwise.
    chart.dispose()
  }
}

let ready: Promise<void> | undefined

/** The picture as PNG, in a font of its own: hosts without fonts draw the same. */
export async function drawPng(chart: Chart): Promise<Uint8Array> {
  const svg = await drawSvg(chart)
  ready ??= initWasm(readFileSync(wasm))
  await ready
  const picture = new Resvg(svg, {
    fitTo: { mode: 'zoom', value: SCALE },
    font: { fontBuffers: [readFileSync(font)], defaultFontFamily: FONT, sansSerifFamily: FONT },
  })
  try {
    return picture.render().asPng()
  } finally {
    picture.free()
  }
}
