// The kinds of panels, drawn with the parts that Grafana draws them with.
import {
  PanelPlugin,
  FieldType,
  FieldColorModeId,
  FieldConfigProperty,
  identityOverrideProcessor,
  getFieldDisplayValues,
} from '@grafana/data';
import { TimeSeries, BigValue, BarGauge, VizRepeater } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';
import { sceneUtils } from '@grafana/scenes';
import React from 'react';
import * as G from '@grafana/data';
import { theme } from './task';

const opt = (b: any, path: string, def: any) =>
  b.addCustomEditor({
    id: path,
    path,
    name: path,
    defaultValue: def,
    editor: () => null,
    override: () => null,
    process: identityOverrideProcessor,
    shouldApply: () => true,
  });
const tsDefaults: any = {
  drawStyle: 'line',
  lineInterpolation: 'linear',
  barAlignment: 0,
  barWidthFactor: 0.6,
  lineWidth: 1,
  fillOpacity: 0,
  gradientMode: 'none',
  lineStyle: { fill: 'solid' },
  spanNulls: false,
  insertNulls: false,
  showPoints: 'auto',
  pointSize: 5,
  stacking: { mode: 'none', group: 'A' },
  axisPlacement: 'auto',
  axisLabel: '',
  axisColorMode: 'text',
  axisBorderShow: false,
  scaleDistribution: { type: 'linear' },
  axisCenteredZero: false,
  hideFrom: { tooltip: false, viz: false, legend: false },
  thresholdsStyle: { mode: 'off' },
  axisSoftMin: undefined,
  axisSoftMax: undefined,
  axisWidth: undefined,
  axisGridShow: undefined,
  transform: undefined,
  fillBelowTo: undefined,
  lineColor: undefined,
};
const prepTS = (frames: any[]) => frames.filter((f) => f.fields.some((x: any) => x.type === FieldType.number)); // negative-Y is applied by @grafana/ui's preparePlotData2
const timeseries = new PanelPlugin(({ data, width, height, options, timeRange, timeZone }: any) => {
  const frames = prepTS(data.series);
  if (!frames.length)
    return (
      <div
        className="no-data"
        style={{ display: 'flex', height: '100%', alignItems: 'center', justifyContent: 'center' }}
      >
        No data
      </div>
    );
  return (
    <TimeSeries
      frames={frames}
      width={width}
      height={height}
      timeRange={timeRange}
      timeZone={[timeZone]}
      legend={options.legend}
      options={options}
      theme={theme as any}
    />
  );
})
  .useFieldConfig({
    standardOptions: {
      [FieldConfigProperty.Color]: {
        settings: { byValueSupport: true, bySeriesSupport: true, preferThresholdsMode: false },
        defaultValue: { mode: FieldColorModeId.PaletteClassic },
      },
    } as any,
    useCustomConfig: (b: any) => {
      for (const [k, v] of Object.entries(tsDefaults)) opt(b, k, v);
    },
  } as any)
  .setPanelOptions((b: any) => {
    opt(b, 'legend', { showLegend: true, displayMode: 'list', placement: 'bottom', calcs: [] });
    opt(b, 'tooltip', { mode: 'single', sort: 'none' });
  });
const reduceDefaults = { values: false, calcs: ['lastNotNull'], fields: '' };
const fieldValues = ({ data, options, fieldConfig, replaceVariables, timeZone }: any, sparkline: boolean) =>
  getFieldDisplayValues({
    fieldConfig,
    reduceOptions: { ...reduceDefaults, ...options.reduceOptions },
    replaceVariables,
    theme,
    data: data.series,
    sparkline,
    timeZone,
  } as any);
const stat = new PanelPlugin((p: any) => (
  <VizRepeater
    getValues={() => fieldValues(p, p.options.graphMode !== 'none')}
    source={p.data}
    renderCounter={p.renderCounter}
    width={p.width}
    height={p.height}
    orientation={p.options.orientation}
    autoGrid
    itemSpacing={3}
    minVizWidth={0}
    minVizHeight={0}
    renderValue={({ value, width, height, count }: any) => (
      <BigValue
        value={value.display}
        count={count}
        sparkline={value.sparkline}
        colorMode={p.options.colorMode}
        graphMode={p.options.graphMode}
        justifyMode={p.options.justifyMode}
        textMode={
          p.options.textMode === 'auto' ? ((count > 1 ? 'value_and_name' : 'value') as any) : p.options.textMode
        }
        width={width}
        height={height}
        theme={theme as any}
        wideLayout
      />
    )}
  />
))
  .useFieldConfig({
    standardOptions: { [FieldConfigProperty.Color]: { defaultValue: { mode: FieldColorModeId.Thresholds } } } as any,
  })
  .setPanelOptions((b: any) => {
    for (const [k, v] of Object.entries({
      reduceOptions: reduceDefaults,
      orientation: 'auto',
      textMode: 'auto',
      colorMode: 'value',
      graphMode: 'area',
      justifyMode: 'auto',
    }))
      opt(b, k, v);
  });
const bargauge = new PanelPlugin((p: any) => (
  <VizRepeater
    getValues={() => fieldValues(p, false)}
    source={p.data}
    renderCounter={p.renderCounter}
    width={p.width}
    height={p.height}
    orientation={p.options.orientation}
    minVizWidth={8}
    minVizHeight={16}
    itemSpacing={10}
    getAlignmentFactors={(v: any) => (G as any).getDisplayValueAlignmentFactors(v)}
    renderValue={({ value, width, height, orientation, alignmentFactors, count }: any) => (
      <BarGauge
        value={value.display}
        width={width}
        height={height}
        orientation={orientation}
        field={value.field}
        text={p.options.text}
        display={value.view?.getFieldDisplayProcessor(value.colIndex)}
        theme={theme as any}
        itemSpacing={10}
        alignmentFactors={alignmentFactors}
        displayMode={p.options.displayMode}
        showUnfilled={p.options.showUnfilled}
        valueDisplayMode={p.options.valueMode}
        namePlacement={p.options.namePlacement}
      />
    )}
  />
))
  .useFieldConfig({
    standardOptions: { [FieldConfigProperty.Color]: { defaultValue: { mode: FieldColorModeId.Thresholds } } } as any,
  })
  .setPanelOptions((b: any) => {
    for (const [k, v] of Object.entries({
      reduceOptions: reduceDefaults,
      orientation: 'auto',
      displayMode: 'gradient',
      valueMode: 'color',
      namePlacement: 'auto',
      showUnfilled: true,
    }))
      opt(b, k, v);
  });
const table = new PanelPlugin(({ data, width, height, options, timeRange, fieldConfig }: any) =>
  data.series.length && ((G as any).cacheFieldDisplayNames(data.series), true) ? (
    <TableNG
      data={data.series[0]}
      width={width}
      height={height}
      noHeader={!options.showHeader}
      showTypeIcons={false}
      resizable
      sortBy={options.sortBy}
      timeRange={timeRange}
      fieldConfig={fieldConfig}
      structureRev={1}
      cellHeight={options.cellHeight}
      disableSanitizeHtml={false}
      getActions={() => []}
    />
  ) : (
    <div>No data</div>
  ),
)
  .useFieldConfig({
    useCustomConfig: (b: any) => {
      for (const [k, v] of Object.entries({
        align: 'auto',
        cellOptions: { type: 'auto' },
        inspect: false,
        width: undefined,
        minWidth: undefined,
        filterable: undefined,
        hidden: undefined,
        hideFrom: undefined,
      }))
        opt(b, k, v);
    },
  } as any)
  .setPanelOptions((b: any) => {
    opt(b, 'showHeader', true);
    opt(b, 'cellHeight', 'sm');
    opt(b, 'sortBy', undefined);
    opt(b, 'footer', { show: false, reducer: ['sum'] });
  });
const text = new PanelPlugin(({ options, replaceVariables }: any) => (
  <div
    dangerouslySetInnerHTML={{
      __html: options.mode === 'html' ? options.content : G.renderMarkdown(replaceVariables(options.content ?? '')),
    }}
  />
)).setPanelOptions((b: any) => {
  opt(b, 'mode', 'markdown');
  opt(b, 'content', '');
});
for (const [id, plugin] of Object.entries({ timeseries, stat, bargauge, table, text }))
  sceneUtils.registerRuntimePanelPlugin({ pluginId: id, plugin: plugin as any });
