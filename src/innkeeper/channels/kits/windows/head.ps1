#requires -Version 5.1
# Innkeeper's kit for Windows guests: run anew for each question, as LocalSystem, by qemu-guest-agent.
# See innkeeper.channels.kits for what each verb answers.
#
# Written to Microsoft's documentation of the Windows Update Agent, of WMI and of Windows PowerShell 5.1.
# UNTRIED ON WINDOWS. Whoever tries it may well find what has to be mended.
#
# This file is plain ASCII, and so is all that it prints: neither code pages nor byte order marks matter.
# It never names the automatic variable for pipeline input: PowerShell would then read standard input as
# text in the console's code page, before the script can read it as bytes.

$ErrorActionPreference = 'Stop'
# A progress bar would be written to standard error, as XML.
$ProgressPreference = 'SilentlyContinue'
$WarningPreference = 'SilentlyContinue'

$KitVersion = '1'
$KitName = 'Innkeeper Windows Update, untried on Windows'
$PowerShellPath = Join-Path ([Environment]::SystemDirectory) 'WindowsPowerShell\v1.0\powershell.exe'

$MaxText = 500
$MaxName = 255
$MaxItems = 2000

# Refuse with a sentence for a person.
function Stop-With([string] $Sentence) {
    throw (New-Object System.ApplicationException $Sentence)
}

# Return a value as JSON, in ASCII. ConvertTo-Json of this version forgets what is deep, cannot be told to
# keep a list of one, and leaves letters as they are.
function Format-Json($Value) {
    if ($null -eq $Value) { return 'null' }
    if ($Value -is [bool]) { if ($Value) { return 'true' } else { return 'false' } }
    if ($Value -is [string]) { return Format-JsonText $Value }
    if ($Value -is [System.Collections.IDictionary]) {
        $members = New-Object System.Collections.ArrayList
        # Not by its Keys: a member may be called so.
        foreach ($member in $Value.GetEnumerator()) {
            [void]$members.Add((Format-JsonText ([string]$member.Key)) + ':' + (Format-Json $member.Value))
        }
        return '{' + ($members -join ',') + '}'
    }
    if ($Value -is [System.Collections.IEnumerable]) {
        $items = New-Object System.Collections.ArrayList
        foreach ($item in $Value) { [void]$items.Add((Format-Json $item)) }
        return '[' + ($items -join ',') + ']'
    }
    return ([System.IFormattable]$Value).ToString('0', [System.Globalization.CultureInfo]::InvariantCulture)
}

function Format-JsonText([string] $Text) {
    if ($Text -cmatch '\A[ !#-\[\]-~]*\z') { return '"' + $Text + '"' }
    $letters = New-Object System.Text.StringBuilder
    foreach ($letter in $Text.ToCharArray()) {
        $code = [int]$letter
        if ($code -lt 32 -or $code -gt 126 -or $code -eq 34 -or $code -eq 92) {
            [void]$letters.AppendFormat('\u{0:x4}', $code)
        } else {
            [void]$letters.Append($letter)
        }
    }
    return '"' + $letters.ToString() + '"'
}

# Return the text, cut.
function Limit-Text($Text, [int] $Most) {
    $whole = [string]$Text
    if ($whole.Length -gt $Most) { return $whole.Substring(0, $Most) }
    return $whole
}

# Return names for a sentence.
function Join-Names($Names) {
    $all = @($Names)
    $told = ($all | Select-Object -First 10) -join ', '
    if ($all.Count -gt 10) { return "$told and $($all.Count - 10) more" }
    return $told
}

# Return a value of the registry, or nothing.
function Get-RegistryValue([string] $Path, [string] $Name) {
    $key = [Microsoft.Win32.Registry]::LocalMachine.OpenSubKey($Path)
    if ($null -eq $key) { return $null }
    try { return $key.GetValue($Name) } finally { $key.Close() }
}

function Test-RegistryKey([string] $Path) {
    $key = [Microsoft.Win32.Registry]::LocalMachine.OpenSubKey($Path)
    if ($null -eq $key) { return $false }
    $key.Close()
    return $true
}

# Return seconds since 1970.
function Get-UnixTime([datetime] $Time) {
    $epoch = New-Object datetime(1970, 1, 1, 0, 0, 0, [System.DateTimeKind]::Utc)
    return [long][math]::Floor(($Time.ToUniversalTime() - $epoch).TotalSeconds)
}

# Return the identity of this boot: a key of the registry that is gone with the boot. The time of the boot,
# which Windows tells, is moved with the clock.
function Get-BootId {
    $path = 'SOFTWARE\Innkeeper\Boot'
    $key = [Microsoft.Win32.Registry]::LocalMachine.OpenSubKey($path)
    if ($null -eq $key) {
        [Microsoft.Win32.Registry]::LocalMachine.CreateSubKey('SOFTWARE\Innkeeper').Close()
        $key = [Microsoft.Win32.Registry]::LocalMachine.CreateSubKey(
            $path, [Microsoft.Win32.RegistryKeyPermissionCheck]::ReadWriteSubTree,
            [Microsoft.Win32.RegistryOptions]::Volatile)
        if ($null -eq $key.GetValue('Id')) { $key.SetValue('Id', [guid]::NewGuid().ToString()) }
    }
    try { return [string]$key.GetValue('Id') } finally { $key.Close() }
}

# Return the seconds since this boot.
function Get-Uptime {
    $system = Get-CimInstance -ClassName Win32_OperatingSystem
    return [long][math]::Max(0, ((Get-Date) - $system.LastBootUpTime).TotalSeconds)
}
