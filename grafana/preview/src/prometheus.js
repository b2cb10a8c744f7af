/** Queries a real Prometheus as Grafana's data source does: variables filled in, one frame per series. */
import { FieldType, escapeRegex, rangeUtil, toDataFrame } from '@grafana/data';

const SCRAPE_INTERVAL_SECONDS = 15;

export class Prometheus {
  constructor(url, variables, range, scrapeSeconds = SCRAPE_INTERVAL_SECONDS) {
    Object.assign(this, { url, variables, range, scrapeSeconds });
    this.allValues = [];
  }

  /** Text with $name, ${name} and ${name:regex} filled in. */
  filledIn(text, step) {
    const known = { ...this.variables, __rate_interval: `${Math.max(step + this.scrapeSeconds, 4 * this.scrapeSeconds)}s` };
    return text.replace(/\$\{(\w+)(?::(\w+))?\}|\$(\w+)/g, (_, braced, format, plain) => {
      const value = known[braced ?? plain] ?? '';
      // What a dashboard writes for "all" is a pattern already.
      return format === 'regex' && !this.allValues.includes(value) ? escapeRegex(value) : value;
    });
  }

  /** Frames of every target of a panel that is so many pixels wide. */
  async frames(panel, width) {
    const answers = await Promise.all(panel.targets.map((target) => this.#frames(panel, target, width)));
    return answers.flat();
  }

  /** What an annotation query finds, as Unix milliseconds and text. */
  async marks(annotation) {
    const found = await this.#get('query', { query: this.filledIn(annotation.expr, 0), time: this.range.to.unix() });
    return found.map(({ metric, value }) => ({
      time: Number(value[1]),
      text: annotation.textFormat.replace(/\{\{(\w+)\}\}/g, (_, label) => metric[label] ?? ''),
    }));
  }

  async #frames(panel, target, width) {
    const [from, to] = [this.range.from.unix(), this.range.to.unix()];
    const least = Math.max(rangeUtil.intervalToSeconds(panel.interval ?? '15s'), 1);
    const step = Math.max(least, Math.ceil((to - from) / Math.max(width, 100)));
    const query = this.filledIn(target.expr, step);
    if (target.instant) {
      const found = await this.#get('query', { query, time: to });
      return target.format === 'table'
        ? [tableFrame(found, target.refId, panel.targets.length > 1 ? `Value #${target.refId}` : 'Value')]
        : found.map(({ metric, value }) => seriesFrame(metric, [value], target, step));
    }
    const aligned = { start: Math.floor(from / step) * step, end: Math.floor(to / step) * step };
    const series = await this.#get('query_range', { query, ...aligned, step });
    return series.map(({ metric, values }) => seriesFrame(metric, values, target, step));
  }

  async #get(path, parameters) {
    const answer = await fetch(`${this.url}/api/v1/${path}?${new URLSearchParams(parameters)}`);
    const { data, error } = await answer.json();
    if (error) {
      throw new Error(`${error}: ${parameters.query}`);
    }
    return data.result;
  }
}

function seriesFrame(metric, values, target, step) {
  const legend = target.legendFormat.replace(/\{\{(\w+)\}\}/g, (_, label) => metric[label] ?? '');
  return toDataFrame({
    refId: target.refId,
    name: legend,
    fields: [
      { name: 'Time', type: FieldType.time, values: values.map(([at]) => at * 1000), config: { interval: step * 1000 } },
      {
        name: 'Value',
        type: FieldType.number,
        values: values.map(([, value]) => Number(value)),
        labels: metric,
        config: { displayNameFromDS: legend },
      },
    ],
  });
}

function tableFrame(series, refId, valueName) {
  const labels = [...new Set(series.flatMap(({ metric }) => Object.keys(metric)))].sort();
  return toDataFrame({
    refId,
    fields: [
      { name: 'Time', type: FieldType.time, values: series.map(({ value }) => value[0] * 1000) },
      ...labels.map((label) => ({
        name: label,
        type: FieldType.string,
        values: series.map(({ metric }) => metric[label] ?? ''),
      })),
      { name: valueName, type: FieldType.number, values: series.map(({ value }) => Number(value[1])) },
    ],
  });
}
