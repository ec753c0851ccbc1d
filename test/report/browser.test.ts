import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { makeCharts } from '../../src/report/charts/index.ts'
import { planCharts } from '../../src/report/charts/plan.ts'
import { drawPng, drawSvg } from '../../src/report/draw.ts'
import { makePage } from '../../src/report/page.ts'
import { makePlanPage } from '../../src/report/plan-page.ts'
import { fakeReportRun } from './fake.ts'
import { fakePlan } from './fake-plan.ts'

const browser = ['chromium', 'chromium-browser', 'google-chrome'].find(name => Bun.which(name))
if (!browser) console.warn('skipped: no Chromium here to open reports in (Debian: apt install chromium)')

// A browser's first start takes seconds.
setDefaultTimeout(60_000)

const folder = mkdtempSync(join(tmpdir(), 'rnb-page-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const NASTY = '</script><img src=x onerror=alert(1)> & "quotes"'
const runs = [
  fakeReportRun({ notes: [NASTY] }),
  fakeReportRun({ name: NASTY, configuration: 'other', offeredPerS: 40, videosPerS: 30 }),
]
const charts = makeCharts(runs)

test('all charts are there for two runs, and those of one for one', () => {
  const ids = (of: typeof charts) => of.map(({ id }) => id)
  const all = ['histogram', 'percentiles', 'over-time', 'stages', 'throughput', 'pareto', 'depths']
  expect(ids(charts)).toEqual(all)
  expect(ids(makeCharts(runs.slice(0, 1)))).toEqual(all.filter(id => id !== 'throughput' && id !== 'pareto'))
  const empty = fakeReportRun({
    arrivalS: new Float64Array(),
    latencyMs: new Float64Array(),
    stages: [],
    waits: [],
  })
  expect(makeCharts([empty])).toEqual([])
})

describe.skipIf(!browser)('in a browser', () => {
  /** The page as the browser has it after its scripts ran. */
  function open(html: string): string {
    const file = join(folder, 'page.html')
    writeFileSync(file, html)
    const { stdout, status } = spawnSync(
      browser!,
      [
        '--headless',
        '--no-sandbox',
        '--disable-gpu',
        '--host-resolver-rules=MAP * ~NOTFOUND',
        `--user-data-dir=${join(folder, 'profile')}`,
        '--virtual-time-budget=10000',
        '--dump-dom',
        `file://${file}`,
      ],
      { encoding: 'utf8', maxBuffer: 1 << 26, timeout: 50_000 },
    )
    expect(status).toBe(0)
    return stdout
  }

  test('every chart is drawn, without a network, and text stays text', () => {
    const dom = open(makePage(runs, charts))
    expect(dom).toContain('data-drawn="yes"')
    expect(dom).not.toContain('data-failed')
    for (const { id } of charts) {
      const place = dom.slice(dom.indexOf(`id="${id}"`))
      expect(place.slice(0, place.indexOf('</figure>'))).toMatch(/<svg[\s\S]*<path/)
    }
    expect(dom).not.toContain('<img')
    expect(dom).toContain('&lt;/script&gt;')
  })

  test('so is every chart of a plan', () => {
    const plan = fakePlan({ pipeline: NASTY, notes: [NASTY] })
    const dom = open(makePlanPage(plan))
    expect(dom).toContain('data-drawn="yes"')
    expect(dom).not.toContain('data-failed')
    const ids = planCharts(plan).map(({ id }) => id)
    expect(ids).toEqual(['front', 'errors', 'race', 'use', 'more'])
    for (const id of ids) {
      const place = dom.slice(dom.indexOf(`id="${id}"`))
      expect(place.slice(0, place.indexOf('</figure>'))).toMatch(/<svg[\s\S]*<path/)
    }
    expect(dom).not.toContain('<img')
    expect(dom).toContain('winner, front')
    expect(dom).toContain('--batch_size=4')
  })
})

test('a plan that was not proven has no charts of runs', () => {
  const plan = fakePlan({ proof: null })
  for (const own of plan.plans) own.measured = []
  expect(planCharts(plan).map(({ id }) => id)).toEqual(['front', 'use', 'more'])
})

test('a page names nothing that it would have to fetch', () => {
  const page = makePage(runs, charts).replaceAll(/data:text\/javascript;base64,[^"]*/g, '')
  expect(page).not.toMatch(/(src|href)="(?!data:)/)
  expect(page).not.toContain('http')
})

test('a title is text in a picture too', async () => {
  const { depths } = Object.fromEntries(makeCharts([...runs].reverse()).map(chart => [chart.id, chart]))
  const svg = await drawSvg(depths!)
  expect(depths!.title).toContain('<img')
  expect(svg).not.toContain('<img')
})

test('pictures are drawn as SVG and PNG', async () => {
  for (const chart of charts) {
    const svg = await drawSvg(chart)
    expect(svg).toStartWith('<svg')
    expect(svg).toContain(`<title>${chart.title}</title>`)
    expect(svg).not.toContain('<style')
    expect(svg).toContain('<path')
  }
  const png = await drawPng(charts[0]!)
  const header = new DataView(png.buffer, png.byteOffset)
  expect(header.getBigUint64(0)).toBe(0x89504e470d0a1a0an)
  expect([header.getUint32(16), header.getUint32(20)]).toEqual([2000, 840])
})
