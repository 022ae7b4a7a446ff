// The kinds of panels, drawn with the parts that Grafana draws them with.
import {
  PanelPlugin,
  FieldType,
  FieldColorModeId,
  FieldConfigProperty,
  cacheFieldDisplayNames,
  getDisplayValueAlignmentFactors,
  getFieldDisplayValues,
  identityOverrideProcessor,
  renderMarkdown,
} from '@grafana/data';
import type {
  DisplayValueAlignmentFactors,
  FieldConfigEditorBuilder,
  FieldDisplay,
  PanelOptionsEditorBuilder,
  PanelProps,
  SetFieldConfigOptionsArgs,
} from '@grafana/data';
import type { SingleStatBaseOptions } from '@grafana/schema';
import type { Options as BarGaugeOptions } from '@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen';
import type { Options as StatOptions } from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type { Options as TableOptions } from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type { Options as TextOptions } from '@grafana/schema/dist/esm/raw/composable/text/panelcfg/x/TextPanelCfg_types.gen';
import type { Options as TimeSeriesOptions } from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';
import { TimeSeries, BigValue, BarGauge, VizRepeater } from '@grafana/ui';
import type { VizRepeaterRenderValueProps } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';
import { sceneUtils } from '@grafana/scenes';
import React from 'react';
import { Graph } from './graph';
import { theme } from './task';

// What a panel is asked for and did not say is taken from these. Editors are for people, and nobody edits here.
const editor = (path: string, defaultValue: unknown) => ({
  id: path,
  path,
  name: path,
  defaultValue,
  editor: () => null,
  override: () => null,
  process: identityOverrideProcessor,
  shouldApply: () => true,
});
const options =
  <T,>(defaults: object) =>
  (builder: PanelOptionsEditorBuilder<T>) => {
    for (const [path, value] of Object.entries(defaults)) builder.addCustomEditor(editor(path, value));
  };
const fields =
  <T,>(defaults: object) =>
  (builder: FieldConfigEditorBuilder<T>) => {
    for (const [path, value] of Object.entries(defaults)) builder.addCustomEditor(editor(path, value));
  };

const timeseries = new PanelPlugin<TimeSeriesOptions>(
  ({ data, width, height, options, timeRange, timeZone }: PanelProps<TimeSeriesOptions>) => {
    // What is drawn downwards is turned over by TimeSeries itself.
    const frames = data.series.filter((frame) => frame.fields.some((field) => field.type === FieldType.number));
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
      />
    );
  },
)
  .useFieldConfig({
    standardOptions: {
      [FieldConfigProperty.Color]: {
        settings: { byValueSupport: true, bySeriesSupport: true, preferThresholdsMode: false },
        defaultValue: { mode: FieldColorModeId.PaletteClassic },
      },
    },
    useCustomConfig: fields({
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
    }),
  })
  .setPanelOptions(
    options({
      legend: { showLegend: true, displayMode: 'list', placement: 'bottom', calcs: [] },
      tooltip: { mode: 'single', sort: 'none' },
    }),
  );

// A figure and a bar are one value of a series, coloured by its thresholds.
const reduceDefaults = { values: false, calcs: ['lastNotNull'], fields: '' };
const valueFields: SetFieldConfigOptionsArgs = {
  standardOptions: { [FieldConfigProperty.Color]: { defaultValue: { mode: FieldColorModeId.Thresholds } } },
};
const values = <T extends SingleStatBaseOptions>(
  { data, options, fieldConfig, replaceVariables, timeZone }: PanelProps<T>,
  sparkline: boolean,
) =>
  getFieldDisplayValues({
    fieldConfig,
    reduceOptions: { ...reduceDefaults, ...options.reduceOptions },
    replaceVariables,
    theme,
    data: data.series,
    sparkline,
    timeZone,
  });

const stat = new PanelPlugin<StatOptions>((panel: PanelProps<StatOptions>) => (
  <VizRepeater
    getValues={() => values(panel, panel.options.graphMode !== 'none')}
    source={panel.data}
    renderCounter={panel.renderCounter}
    width={panel.width}
    height={panel.height}
    orientation={panel.options.orientation}
    autoGrid
    itemSpacing={3}
    minVizWidth={0}
    minVizHeight={0}
    renderValue={({ value, width, height, count }: VizRepeaterRenderValueProps<FieldDisplay>) => (
      <BigValue
        value={value.display}
        count={count}
        sparkline={value.sparkline}
        colorMode={panel.options.colorMode}
        graphMode={panel.options.graphMode}
        justifyMode={panel.options.justifyMode}
        textMode={panel.options.textMode}
        width={width}
        height={height}
        theme={theme}
      />
    )}
  />
))
  .useFieldConfig(valueFields)
  .setPanelOptions(
    options({
      reduceOptions: reduceDefaults,
      orientation: 'auto',
      textMode: 'auto',
      colorMode: 'value',
      graphMode: 'area',
      justifyMode: 'auto',
    }),
  );

const bargauge = new PanelPlugin<BarGaugeOptions>((panel: PanelProps<BarGaugeOptions>) => (
  <VizRepeater
    getValues={() => values(panel, false)}
    source={panel.data}
    renderCounter={panel.renderCounter}
    width={panel.width}
    height={panel.height}
    orientation={panel.options.orientation}
    minVizWidth={8}
    minVizHeight={16}
    itemSpacing={10}
    getAlignmentFactors={getDisplayValueAlignmentFactors}
    renderValue={({
      value,
      width,
      height,
      orientation,
      alignmentFactors,
    }: VizRepeaterRenderValueProps<FieldDisplay, DisplayValueAlignmentFactors>) => (
      <BarGauge
        value={value.display}
        width={width}
        height={height}
        orientation={orientation}
        field={value.field}
        text={panel.options.text}
        display={value.colIndex === undefined ? undefined : value.view?.getFieldDisplayProcessor(value.colIndex)}
        theme={theme}
        itemSpacing={10}
        alignmentFactors={alignmentFactors}
        displayMode={panel.options.displayMode}
        showUnfilled={panel.options.showUnfilled}
        valueDisplayMode={panel.options.valueMode}
        namePlacement={panel.options.namePlacement}
      />
    )}
  />
))
  .useFieldConfig(valueFields)
  .setPanelOptions(
    options({
      reduceOptions: reduceDefaults,
      orientation: 'auto',
      displayMode: 'gradient',
      valueMode: 'color',
      namePlacement: 'auto',
      showUnfilled: true,
    }),
  );

const cells = {
  useCustomConfig: fields({
    align: 'auto',
    cellOptions: { type: 'auto' },
    inspect: false,
    width: undefined,
    minWidth: undefined,
    filterable: undefined,
    hidden: undefined,
    hideFrom: undefined,
  }),
};

const table = new PanelPlugin<TableOptions>(
  ({ data, width, height, options, timeRange, fieldConfig }: PanelProps<TableOptions>) => {
    const frame = data.series[0];
    if (!frame) return <div>No data</div>;
    cacheFieldDisplayNames(data.series);
    return (
      <TableNG
        data={frame}
        width={width}
        height={height}
        noHeader={options.showHeader === false}
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
    );
  },
)
  .useFieldConfig(cells)
  .setPanelOptions(
    options({
      showHeader: true,
      cellHeight: 'sm',
      sortBy: undefined,
      footer: { show: false, reducer: ['sum'] },
    }),
  );

const text = new PanelPlugin<TextOptions>(({ options, replaceVariables }: PanelProps<TextOptions>) => (
  <div
    dangerouslySetInnerHTML={{
      __html: options.mode === 'html' ? options.content : renderMarkdown(replaceVariables(options.content ?? '')),
    }}
  />
)).setPanelOptions(options({ mode: 'markdown', content: '' }));

const nodeGraph = new PanelPlugin<object>(({ data, width, height }: PanelProps<object>) => (
  <Graph frames={data.series} width={width} height={height} />
)).useFieldConfig(cells);

for (const [pluginId, plugin] of Object.entries({ timeseries, stat, bargauge, table, nodeGraph, text }))
  sceneUtils.registerRuntimePanelPlugin({ pluginId, plugin });
