// A data source for Prometheus: queries, and the values of variables. Grafana's own is under another licence.
import { DataSourceApi, FieldType, toDataFrame } from '@grafana/data';
import { setDataSourceSrv } from '@grafana/runtime';
import { sceneGraph } from '@grafana/scenes';
import { results, task } from './task';

const secs = (s: string) => {
  const m = /^(\d+(?:\.\d+)?)(ms|s|m|h|d|w|y)$/.exec(s)!;
  return +m[1] * ({ ms: 0.001, s: 1, m: 60, h: 3600, d: 86400, w: 604800, y: 31536000 } as any)[m[2]];
};
const dur = (s: number) => (s >= 1 ? `${Math.round(s)}s` : `${Math.round(s * 1000)}ms`);
const regexEsc = (v: string) => v.replace(/\\/g, '\\\\\\\\').replace(/[$^*{}\[\]\'+?.()|]/g, '\\\\$&');
const interpolateQueryExpr = (value: any, variable: any) => {
  if (!variable.multi && !variable.includeAll) return String(value).replace(/\\/g, '\\\\').replace(/'/g, "\\'");
  if (typeof value === 'string') return regexEsc(value);
  const e = value.map(regexEsc);
  return e.length === 1 ? e[0] : '(' + e.join('|') + ')';
};
class Prom extends (DataSourceApi as any) {
  constructor() {
    super({
      id: 1,
      uid: 'prom',
      type: 'prometheus',
      name: 'Prometheus',
      url: task.prometheus,
      access: 'proxy',
      jsonData: {},
      readOnly: true,
      meta: { id: 'prometheus', name: 'Prometheus', type: 'datasource', info: { logos: { small: '', large: '' } } },
    } as any);
  }
  async api(path: string, q: any) {
    const r = await fetch(task.prometheus + path, {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: new URLSearchParams(q),
    });
    const j = await r.json();
    if (j.status !== 'success') throw new Error(j.errorType + ': ' + j.error);
    return j;
  }
  interp(expr: string, req: any, ivl: number) {
    const range = (req.range.to.valueOf() - req.range.from.valueOf()) / 1000,
      scrape = secs(task.minInterval);
    const sv = {
      ...req.scopedVars,
      __interval: { value: dur(ivl), text: dur(ivl) },
      __interval_ms: { value: ivl * 1000 },
      __rate_interval: { value: dur(Math.max(ivl + scrape, 4 * scrape)) },
      __range: { value: dur(range) },
      __range_s: { value: Math.round(range) },
      __range_ms: { value: range * 1000 },
    };
    const so = req.scopedVars.__sceneObject.value.valueOf();
    return sceneGraph.interpolate(so, expr, sv as any, interpolateQueryExpr as any);
  }
  async query(req: any) {
    const data: any[] = [],
      errors: any[] = [];
    for (const t of req.targets) {
      if (t.hide) continue;
      const min = secs(task.minInterval);
      const ivl = Math.max((req.intervalMs ?? 15000) / 1000, t.interval ? secs(t.interval) : min);
      const expr = this.interp(t.expr, req, ivl);
      const rec: any = {
        panel: req.panelName ?? req.scopedVars.__sceneObject.value.valueOf().parent?.state?.title ?? '',
        refId: t.refId,
        expr,
      };
      try {
        const from0 = req.range.from.valueOf() / 1000,
          to = req.range.to.valueOf() / 1000,
          step = ivl;
        const j = t.instant
          ? await this.api('/api/v1/query', { query: expr, time: String(to) })
          : await this.api('/api/v1/query_range', {
              query: expr,
              start: String(Math.floor(from0 / step) * step),
              end: String(Math.floor(to / step) * step),
              step: String(step),
            });
        rec.series = j.data.result.length;
        rec.warnings = j.warnings;
        const rows = j.data.resultType === 'scalar' ? [{ metric: {}, value: j.data.result }] : j.data.result;
        if (t.format === 'table') {
          const keys = [...new Set(rows.flatMap((r: any) => Object.keys(r.metric)))].sort() as string[];
          const vals = rows.flatMap((r: any) => (r.values ?? [r.value]).map((v: any) => ({ m: r.metric, v })));
          data.push(
            toDataFrame({
              refId: t.refId,
              fields: [
                { name: 'Time', type: FieldType.time, values: vals.map((x: any) => x.v[0] * 1000) },
                ...keys.map((k) => ({
                  name: k,
                  type: FieldType.string,
                  config: { filterable: true },
                  values: vals.map((x: any) => x.m[k] ?? ''),
                })),
                {
                  name: req.targets.length > 1 ? `Value #${t.refId}` : 'Value',
                  type: FieldType.number,
                  values: vals.map((x: any) => +x.v[1]),
                },
              ],
            }),
          );
        } else
          for (const r of rows) {
            const v = r.values ?? [r.value];
            const { __name__, ...labels } = r.metric;
            const so = req.scopedVars.__sceneObject.value.valueOf();
            const auto =
              (__name__ ?? '') +
              (Object.keys(labels).length
                ? '{' +
                  Object.entries(labels)
                    .map(([a, b]) => `${a}="${b}"`)
                    .join(', ') +
                  '}'
                : '');
            const name =
              t.legendFormat && t.legendFormat !== '__auto'
                ? sceneGraph
                    .interpolate(so, t.legendFormat, req.scopedVars)
                    .replace(/\{\{\s*(.+?)\s*\}\}/g, (_: any, k: string) => r.metric[k] ?? '')
                : auto === ''
                  ? expr
                  : auto;
            data.push(
              toDataFrame({
                refId: t.refId,
                name,
                fields: [
                  {
                    name: 'Time',
                    type: FieldType.time,
                    config: { interval: step * 1000 },
                    values: v.map((x: any) => x[0] * 1000),
                  },
                  {
                    name: 'Value',
                    type: FieldType.number,
                    labels,
                    config: { displayNameFromDS: name },
                    values: v.map((x: any) => +x[1]),
                  },
                ],
              }),
            );
          }
      } catch (e: any) {
        rec.error = e.message;
        errors.push({ refId: t.refId, message: e.message });
      }
      results.push(rec);
    }
    return { data, errors };
  }
  async metricFindQuery(q: any, o: any) {
    const text = typeof q === 'string' ? q : q.query;
    const so = o?.scopedVars?.__sceneObject?.value?.valueOf?.();
    const s = so ? sceneGraph.interpolate(so, text, o.scopedVars, interpolateQueryExpr as any) : text;
    let m;
    const rec: any = { variable: so?.state?.name, expr: s };
    results.push(rec);
    if ((m = /^label_values\(\s*(?:(.+?)\s*,\s*)?([a-zA-Z_]\w*)\s*\)$/s.exec(s))) {
      const qs: any = { start: String(task.from / 1000), end: String(task.to / 1000) };
      if (m[1]) qs['match[]'] = m[1];
      const r = await fetch(`${task.prometheus}/api/v1/label/${m[2]}/values?` + new URLSearchParams(qs));
      const j = await r.json();
      rec.series = j.data.length;
      return j.data.map((x: string) => ({ text: x }));
    }
    if ((m = /^query_result\((.+)\)$/s.exec(s))) {
      const j = await this.api('/api/v1/query', { query: m[1], time: String(task.to / 1000) });
      rec.series = j.data.result.length;
      return j.data.result.map((r: any) => ({ text: JSON.stringify(r.metric) }));
    }
    rec.error = 'unsupported variable query';
    throw new Error('unsupported variable query ' + s);
  }
  getRef() {
    return { type: 'prometheus', uid: 'prom' };
  }
}
const prom = new Prom();
const settings = {
  uid: 'prom',
  name: 'Prometheus',
  type: 'prometheus',
  isDefault: true,
  meta: (prom as any).meta,
  jsonData: {},
};
setDataSourceSrv({
  get: async () => prom,
  getList: () => [settings],
  getInstanceSettings: () => settings,
  reload() {},
  registerRuntimeDataSource() {},
} as any);
