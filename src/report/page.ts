import { readFileSync } from 'node:fs'
import library from '../../node_modules/echarts/dist/echarts.esm.min.js' with { type: 'file' }
import { VERSION } from '../version.ts'
import type { Chart } from './charts/chart.ts'
import { type Figures, figuresOf } from './figures.ts'
import { escaped } from './markup.ts'
import type { ReportRun } from './run.ts'

/** JSON that can stand in a script: no `<` could end it. */
const inScript = (value: unknown): string => JSON.stringify(value).replaceAll('<', '\\u003c')

const STYLE = `
:root { color-scheme: light; font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fff }
body { max-width: 1100px; margin: 0 auto; padding: 1.5rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin: 2.2rem 0 0.2rem }
p { margin: 0.2rem 0; color: #555 }
figure { margin: 0 } .chart { width: 100%; height: 380px }
.scroll { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 0.9rem }
th, td { padding: 0.25rem 0.7rem; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap }
th:first-child, td:first-child, th:nth-child(2), td:nth-child(2), td:last-child, th:last-child { text-align: left }
td.text { white-space: normal; min-width: 18rem }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.1rem 1rem } dt { color: #555 } dd { margin: 0; overflow-wrap: anywhere }
`

/** Heading and unit of each column of the table. */
const COLUMNS: readonly (readonly [keyof Figures, string])[] = [
  ['run', 'run'],
  ['configuration', 'configuration'],
  ['offered_per_s', 'offered/s'],
  ['videos_per_s', 'videos/s'],
  ['clips_per_s', 'clips/s'],
  ['mean_ms', 'mean, ms'],
  ['p50_ms', 'p50'],
  ['p90_ms', 'p90'],
  ['p99_ms', 'p99'],
  ['max_ms', 'max'],
  ['completed', 'completed'],
  ['failed', 'failed'],
  ['end', 'end'],
]

/** A cell of a table. */
export const cell = (value: string | number | null): string =>
  value === null ? '–' : typeof value === 'number' ? String(Number(value.toPrecision(4))) : escaped(value)

function table(runs: readonly ReportRun[]): string {
  const head = COLUMNS.map(([, heading]) => `<th>${heading}</th>`).join('')
  const rows = runs.map(run => {
    const figures = figuresOf(run)
    return `<tr>${COLUMNS.map(([key]) => `<td>${cell(figures[key])}</td>`).join('')}</tr>`
  })
  return `<div class="scroll"><table><thead><tr>${head}</tr></thead><tbody>${rows.join('\n')}</tbody></table></div>`
}

/** The place of a chart, with what it shows. */
export const figure = ({ id, title, caption }: Chart): string =>
  `<figure><h2>${escaped(title)}</h2><p>${escaped(caption)}</p><div class="chart" id="${id}"></div></figure>`

/** What a run was: its flags, host, failures and warnings. */
function details(run: ReportRun): string {
  const flags = Object.entries(run.flags).map(([name, value]) => `--${name}=${String(value)}`)
  const failures = Object.entries(run.failures).map(([code, count]) => `${count} x ${code}`)
  const queues = run.queues.map(({ name, capacity, highWater }) => `${name}: ${highWater} of ${capacity}`)
  const facts: [string, string][] = [
    ['from', run.path],
    ['host', run.host],
    ['flags', flags.join(' ')],
    ['failures', failures.join(', ')],
    ['highest depth of queues', queues.join('; ')],
    ['notes', run.notes.join(' ')],
  ]
  const list = facts
    .filter(([, text]) => text !== '')
    .map(([name, text]) => `<dt>${name}</dt><dd>${escaped(text)}</dd>`)
  return `<h2>${escaped(run.name)}</h2><dl>${list.join('')}</dl>`
}

/** Draws every chart where its place is; one that fails says so instead. */
const SCRIPT = `
for (const { id, option } of charts) {
  const place = document.getElementById(id)
  try {
    const chart = echarts.init(place, null, { renderer: 'svg' })
    chart.setOption(option)
    addEventListener('resize', () => chart.resize())
  } catch (error) {
    place.textContent = String(error)
    place.dataset.failed = 'yes'
  }
}
document.body.dataset.drawn = 'yes'
`

/** A page of runs. */
export function makePage(runs: readonly ReportRun[], charts: readonly Chart[]): string {
  const title = runs.length === 1 ? `rnb: ${runs[0]!.name}` : `rnb: ${runs.length} runs`
  return makeDocument(title, [table(runs), ...charts.map(figure), ...runs.map(details)], charts)
}

/**
 * One self-contained HTML page: it asks the network for nothing.
 * @param parts of its body, as markup, with a `figure` for each chart
 */
export function makeDocument(title: string, parts: readonly string[], charts: readonly Chart[]): string {
  const code = `data:text/javascript;base64,${readFileSync(library).toString('base64')}`
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="generator" content="rnb ${VERSION}">
<link rel="icon" href="data:,">
<title>${escaped(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<h1>${escaped(title)}</h1>
${parts.join('\n')}
<script type="module">
import * as echarts from ${inScript(code)}
const charts = ${inScript(charts.map(({ id, option }) => ({ id, option })))}
${SCRIPT}
</script>
</body>
</html>
`
}
