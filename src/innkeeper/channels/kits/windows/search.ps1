# Which updates this machine would take, by the Windows Update Agent (IUpdateSearcher, IUpdate).

# Operation result codes.
$Succeeded = 2
$SucceededWithErrors = 3
# "Upgrades" in Windows Update's categories: the next release of Windows.
$UpgradesCategory = '3689bdc8-b205-4af4-8d4a-a63924c5e9d5'
$SecurityCategory = '0fa1201d-4330-4fa8-8ae9-b877473b6441'
$DriverType = 2
$ExclusiveImpact = 2

# Return what the context asks for. What is no JSON object wishes nothing.
function Read-Options([byte[]] $Context) {
    $options = @{ packages = @(); reboot = 'if_needed'; include = @() }
    try { $wishes = ConvertFrom-Json ([System.Text.Encoding]::UTF8.GetString($Context)) } catch { return $options }
    if ($wishes -isnot [System.Management.Automation.PSCustomObject]) { return $options }
    if ($null -ne $wishes.packages) {
        foreach ($name in @($wishes.packages)) {
            if ($name -isnot [string] -or $name -notmatch '\A[A-Za-z0-9][A-Za-z0-9+._:~-]{0,254}(?<!-)\z') {
                Stop-With "The context names '$(Limit-Text $name 80)', which is not an update's name."
            }
        }
        $options.packages = @($wishes.packages)
    }
    if ($null -ne $wishes.reboot) {
        if ('if_needed', 'never', 'always' -cnotcontains $wishes.reboot) {
            Stop-With "The context's reboot is none of if_needed, never, always."
        }
        $options.reboot = $wishes.reboot
    }
    foreach ($kind in @($wishes.include)) {
        if ($null -eq $kind) { continue }
        if ('drivers', 'upgrades', 'optional' -cnotcontains $kind) {
            Stop-With "The context includes what is none of drivers, upgrades, optional."
        }
        $options.include += $kind
    }
    return $options
}

# Search, and part what would be taken from what is left out, and why. Fails where it could not be looked.
function Find-Updates($Options, [bool] $Online) {
    $session = New-Object -ComObject Microsoft.Update.Session
    $session.ClientApplicationID = 'Innkeeper'
    $searcher = $session.CreateUpdateSearcher()
    $searcher.Online = $Online
    try {
        $result = $searcher.Search('IsInstalled=0 and IsHidden=0')
    } catch {
        $words = Get-Cause $_
        if ((Format-Result (Get-Result $_)) -match $Unseen) { $words += '. Nothing could be looked at' }
        Stop-With "Windows Update could not be asked which updates there are: $words."
    }
    $found = @{
        session = $session
        chosen = (New-Object System.Collections.ArrayList)
        left = (New-Object System.Collections.ArrayList)
        unseen = (New-Object System.Collections.ArrayList)
    }
    if ($result.ResultCode -ne $Succeeded -and $result.ResultCode -ne $SucceededWithErrors) {
        Stop-With "The search for updates did not succeed (result $($result.ResultCode))."
    }
    foreach ($warning in $result.Warnings) {
        [void]$found.unseen.Add((Get-Meaning $warning.HResult))
    }
    if ($result.ResultCode -eq $SucceededWithErrors -and $found.unseen.Count -eq 0) {
        [void]$found.unseen.Add('a part of the search failed, and Windows Update does not say which')
    }
    foreach ($update in $result.Updates) {
        $one = @{ update = $update; name = (Get-UpdateName $update); title = [string]$update.Title; why = '' }
        if (-not (Test-Wanted $one $Options)) { continue }
        $one.why = Get-ReasonToLeave $update $Options
        if ($one.why) { [void]$found.left.Add($one) } else { [void]$found.chosen.Add($one) }
    }
    # What has to be installed alone, as servicing stacks, goes first: others may stand on it.
    $found.chosen = [System.Collections.ArrayList]@(
        $found.chosen | Sort-Object { $_.update.InstallationBehavior.Impact -ne $ExclusiveImpact }, { $_.name })
    return $found
}

# Return what people call an update: the numbers of its articles, else its title.
function Get-UpdateName($Update) {
    $numbers = @(foreach ($number in $Update.KBArticleIDs) { "KB$number" })
    if ($numbers.Count -gt 0) { return $numbers -join ' ' }
    return Limit-Text $Update.Title $MaxName
}

function Test-Wanted($One, $Options) {
    if ($Options.packages.Count -eq 0) { return $true }
    $names = @($One.name -split ' ') + $One.title
    return @($Options.packages | Where-Object { $names -contains $_ }).Count -gt 0
}

function Get-ReasonToLeave($Update, $Options) {
    $isNamed = $Options.packages.Count -gt 0
    if ($Update.InstallationBehavior.CanRequestUserInput) { return 'it wants answers while it installs' }
    if ($Update.Type -eq $DriverType -and -not $isNamed -and $Options.include -notcontains 'drivers') {
        return 'a driver'
    }
    $isUpgrade = Test-Category $Update $UpgradesCategory
    if ($isUpgrade -and -not $isNamed -and $Options.include -notcontains 'upgrades') {
        return 'an upgrade to another release of Windows'
    }
    if ($Update.BrowseOnly -and -not $isNamed -and $Options.include -notcontains 'optional') { return 'optional' }
    return ''
}

function Test-Category($Update, [string] $Category) {
    foreach ($one in $Update.Categories) {
        if ([string]$one.CategoryID -eq $Category) { return $true }
    }
    return $false
}

# Return what was left out, for a sentence; empty where that is nothing.
function Format-Left($Found) {
    $words = ''
    if ($Found.left.Count -gt 0) {
        $names = @($Found.left | ForEach-Object { "$($_.name) ($($_.why))" })
        $words += '; left out: ' + (Join-Names $names)
    }
    if ($Found.unseen.Count -gt 0) { $words += '; not looked at: ' + (Join-Names $Found.unseen) }
    return $words
}

# Return updates as the host hears of them: name, nothing before, and the title.
function Get-PackageRows($Ones) {
    $rows = New-Object System.Collections.ArrayList
    foreach ($one in $Ones) {
        [void]$rows.Add([object[]]@((Limit-Text $one.name $MaxName), '', (Limit-Text $one.title $MaxName)))
        if ($rows.Count -ge 200) { break }
    }
    return @{ rows = $rows }
}

# Answer which updates wait.
function Invoke-Scan {
    $found = Find-Updates (Read-Options ([byte[]]@())) $true
    if ($found.unseen.Count -gt 0) { Stop-With "Not all could be looked at: $(Join-Names $found.unseen)." }
    $updates = New-Object System.Collections.ArrayList
    foreach ($one in $found.chosen) {
        $isSecurity = [bool]$one.update.MsrcSeverity -or (Test-Category $one.update $SecurityCategory)
        [void]$updates.Add(@{
            name = (Limit-Text $one.name 200); installed = ''; available = (Limit-Text $one.title 200)
            security = $isSecurity
        })
    }
    return @{ updates = $updates; count = $updates.Count }
}
